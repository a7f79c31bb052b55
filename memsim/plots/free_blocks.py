"""How much memory is free over time, and in blocks of which order."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.mm import NR_ORDERS, PAGE_SIZE
from memsim.plots._frames import NS, placed
from memsim.plots._style import ORDERS, panels, sized
from memsim.results import Run
from memsim.units import BYTES

MISSING = "its timeline has no sample"
HINT = "memsim run --force carries its trials out again"


def rows(run: Run) -> Any:
    """Return MiB in free blocks by policy, instant and order: means over seeds, of all zones."""
    table = placed(run, run.timeline)
    columns = {f"free_blocks_order_{order}": order for order in range(NR_ORDERS)}
    used = [name for name in columns if table[name].any()]
    keys = ["policy", "point", "time_ns"]
    sums = table.groupby([*keys, "seed"], sort=False)[used].sum()
    means = sums.groupby(level=keys, sort=False).mean().reset_index()
    long = means.melt(keys, used, "column", "blocks")
    order = long.column.map(columns).astype(int)
    mib = long.blocks * (PAGE_SIZE * 2.0**order) / BYTES["MiB"]
    return long[["policy", "point"]].assign(seconds=long.time_ns / NS, order=order, MiB=mib)


def chart(rows: Any) -> Any:
    """Draw an area for each order, the largest blocks at the bottom."""
    area = (
        alt.Chart(rows)
        .mark_area(line=False)
        .encode(
            x=alt.X("seconds:Q", title="simulated seconds"),
            y=alt.Y("MiB:Q", title="free memory, MiB", stack="zero"),
            color=alt.Color("order:O", title="order", sort="descending").scale(scheme=ORDERS),
            order=alt.Order("order:Q", sort="descending"),
        )
    )
    return panels(sized(area), rows, "policy", "point")


def told(rows: Any) -> str:
    """Say how much is free at the end, and how much of it in the largest blocks."""
    top, last = rows.order.max(), rows[rows.seconds == rows.seconds.max()]
    parts = []
    for policy, group in last.groupby("policy", sort=False):
        points = group.point.nunique()
        whole = group.MiB.sum() / points
        large = group[group.order == top].MiB.sum() / points
        parts.append(f"{policy} {whole:,.0f} MiB, {large:,.0f} of it in blocks of order {top}")
    return f"Free at the end: {'; '.join(parts)}."
