"""Pageblocks at the end, by type, and how many are mixed."""

from __future__ import annotations

from memsim.mm import MIGRATETYPE_NAMES
from memsim.schema import Column, TrialRecord

NAMES = tuple(name.lower() for name in MIGRATETYPE_NAMES)

COLUMNS = (
    *(Column(name, "blocks", f"pageblocks of type {name}") for name in NAMES),
    Column(
        "mixed",
        "blocks",
        "polluted pageblocks: those that hold allocations of more than one type",
        better="lower",
    ),
)


def measure(record: TrialRecord) -> dict[str, int | float | None]:
    """Count the pageblocks of all zones."""
    counts = record.census.pageblocks.sum(axis=0)
    by_type = {name: int(n) for name, n in zip(NAMES, counts, strict=True)}
    return {**by_type, "mixed": int(record.census.mixed_pageblocks.sum())}
