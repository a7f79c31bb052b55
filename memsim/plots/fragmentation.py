"""How broken free memory is over time: the kernel's two indices, by order."""

from __future__ import annotations

from typing import Any

import altair as alt
import numpy as np

from memsim.mm import NR_ORDERS
from memsim.plots._frames import NS, placed
from memsim.plots._style import ORDERS, panels, sized
from memsim.results import Run

MISSING = "its timeline has no sample"
HINT = "memsim run --force carries its trials out again"
SHOWN = (3, 6, 9)
SMALL = 0.05
"""Zones with less than this part of the free memory of the freest are left out."""
UNUSABLE, INDEX = "unusable free memory", "fragmentation index"


def rows(run: Run) -> Any:
    """Return both indices by policy, zone, instant and order, means over seeds.

    ``unusable free memory`` is the part of free memory in blocks that are too small;
    ``fragmentation index`` says why a request would fail (0: too little memory, 1: fragmentation)
    and is blank where a block is free. Source: unusable_show_print and __fragmentation_index in
    mm/vmstat.c, Linux 6.1.
    """
    table = placed(run, run.timeline)
    peak = table.groupby("zone")["nr_free_pages"].max()
    table = table[table.zone.isin(peak[peak > SMALL * peak.max()].index)]
    blocks = table[[f"free_blocks_order_{order}" for order in range(NR_ORDERS)]].to_numpy()
    pages = blocks << np.arange(NR_ORDERS)
    free, count = pages.sum(axis=1), blocks.sum(axis=1)
    highest = int(np.flatnonzero(blocks.any(axis=0)).max(initial=0))
    found = []
    for order in sorted({*(o for o in SHOWN if o < highest), highest}):
        unusable = np.where(free > 0, 1 - pages[:, order:].sum(axis=1) / np.maximum(free, 1), 0.0)
        index = 1 - (1 + free / 2.0**order) / np.maximum(count, 1)
        blank = (blocks[:, order:].sum(axis=1) > 0) | (count == 0)
        values = {UNUSABLE: unusable, INDEX: np.where(blank, np.nan, index), "order": order}
        found.append(table[["policy", "point", "zone", "time_ns"]].assign(**values))
    import pandas

    keys = ["policy", "point", "zone", "order", "time_ns"]
    means = pandas.concat(found).groupby(keys, sort=False)[[UNUSABLE, INDEX]].mean().reset_index()
    return means.assign(seconds=means.time_ns / NS).drop(columns="time_ns")


def chart(rows: Any) -> Any:
    """Draw the unusable part as lines; dots are the index, where a request would fail."""
    base: Any = alt.Chart(rows).encode(
        x=alt.X("seconds:Q", title="simulated seconds"),
        color=alt.Color("order:O", title="order").scale(scheme=ORDERS),
    )
    axis = alt.Axis(title=["line: unusable part", "dots: fragmentation index"])
    lines = base.mark_line().encode(
        y=alt.Y(f"{UNUSABLE}:Q", axis=axis, scale=alt.Scale(domain=[0, 1]))
    )
    dots = base.mark_circle(size=14, opacity=0.7).encode(y=alt.Y(f"{INDEX}:Q"))
    return panels(sized(alt.layer(lines, dots, data=rows)), rows, "policy", "zone", "point")


def told(rows: Any) -> str:
    """Say how much of the free memory is of no use for the largest blocks at the end."""
    top = rows.order.max()
    last = rows[(rows.seconds == rows.seconds.max()) & (rows.order == top)]
    means = last.groupby("policy", sort=False)[UNUSABLE].mean()
    parts = [f"{policy} {100 * mean:.0f} %" for policy, mean in means.items()]
    return f"Free memory too broken for order {top} at the end: {', '.join(parts)}."
