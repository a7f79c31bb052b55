"""How probes fared: the observed attempts to get blocks of given orders."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MAX_PAGE_ORDER, PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, Status
from memsim.schema import Column, TrialRecord

ORDERS = (PAGE_ALLOC_COSTLY_ORDER, PAGEBLOCK_ORDER, MAX_PAGE_ORDER)
"""Orders with columns of their own."""

COLUMNS = (
    Column("attempts", "requests", "probes of all orders"),
    Column("succeeded", "requests", "probes that got their block", better="higher"),
    Column("success_ratio", "1", "succeeded / attempts", better="higher", dtype="float64"),
    *(
        column
        for order in ORDERS
        for column in (
            Column(f"attempts_order_{order}", "requests", f"probes of order {order}"),
            Column(
                f"success_ratio_order_{order}",
                "1",
                f"succeeded / attempts of order {order}",
                better="higher",
                dtype="float64",
            ),
        )
    ),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count the probes; a ratio without probes is blank."""
    got = record.probes.status == Status.OK
    row: dict[str, int | float | None] = {
        "attempts": len(got),
        "succeeded": int(got.sum()),
        "success_ratio": _ratio(got),
    }
    for order in ORDERS:
        of_order = got[record.probes.order == order]
        row[f"attempts_order_{order}"] = len(of_order)
        row[f"success_ratio_order_{order}"] = _ratio(of_order)
    return row


def _ratio(got: NDArray[np.bool_]) -> float | None:
    return int(got.sum()) / len(got) if len(got) else None
