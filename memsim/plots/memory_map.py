"""A map of memory: each cell by the type of its pageblocks and how full it is."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.memory.mapping import FULL, NO_MEMORY, TYPE_LETTERS
from memsim.mm import MIGRATETYPE_NAMES
from memsim.plots._frames import NS, placed
from memsim.plots._style import panels
from memsim.results import Run

MISSING = "its trials kept no map"
HINT = "write record: {map: true} into the scenario, or --set record.map=true"
TYPE_COLORS = ["#c0392b", "#3b7dd8", "#e0a81a", "#8e44ad", "#2b9a66", "#7f7f7f"]
OFFLINE = "no memory"
COLUMNS = 64
MOST_CELLS = 1024
"""Of a policy; what is left out is every second row."""
TYPES = dict(zip(TYPE_LETTERS, MIGRATETYPE_NAMES, strict=True))


def rows(run: Run) -> Any:
    """Return the cells at the first and the last instant of the first seed, by policy and zone."""
    import pandas

    table = placed(run, run.map)
    if table.empty:
        return table[["policy", "point"]]
    first = table.groupby(["policy", "point"], sort=False)["seed"].transform("first")
    ends = (table.time_ns.min(), table.time_ns.max())
    table = table[(table.seed == first) & table.time_ns.isin(ends)]
    found = [
        {
            "policy": row.policy,
            "point": row.point,
            "seconds": row.time_ns / NS,
            "zone": row.zone,
            "pfn": row.start_pfn + n * row.cell_pages,
            "type": TYPES.get(cell[0], OFFLINE),
            "in use": int(cell[1], 16) / FULL if cell != NO_MEMORY else 0.0,
            "not movable": int(cell[2], 16) / FULL if cell != NO_MEMORY else 0.0,
        }
        for row in table.itertuples()
        for n, cell in enumerate(row.cells[k : k + 3] for k in range(0, len(row.cells), 3))
    ]
    return pandas.DataFrame(found)


def chart(rows: Any) -> Any:
    """Draw a square for each cell, darker the fuller; a dot: pages that cannot be moved."""
    place = rows.groupby(["policy", "point", "seconds"], sort=False).cumcount()
    every = -(-int(place.max() + 1) // MOST_CELLS)
    data = rows[place % every == 0].assign(place=place[place % every == 0] // every)
    data = data.assign(column=data.place % COLUMNS, row=data.place // COLUMNS)
    names = [name for name in (*MIGRATETYPE_NAMES, OFFLINE) if name in set(data.type)]
    colors = dict(zip((*MIGRATETYPE_NAMES, OFFLINE), (*TYPE_COLORS, "#00000000"), strict=True))
    scale = alt.Scale(domain=names, range=[colors[name] for name in names])
    base: Any = alt.Chart(data).encode(x=alt.X("column:O", axis=None), y=alt.Y("row:O", axis=None))
    boxes = base.mark_rect(stroke="#88888844").encode(
        color=alt.Color("type:N", sort=names, scale=scale, title="type of the pageblock"),
        opacity=alt.Opacity(
            "in use:Q", scale=alt.Scale(domain=[0, 1], range=[0.15, 1]), title="part in use"
        ),
    )
    dots = (
        base.transform_filter("datum['not movable'] > 0 && datum['not movable'] < 1")
        .mark_circle(size=5, color="#000000", opacity=0.8)
        .encode()
    )
    whole = alt.layer(boxes, dots, data=data).properties(width=alt.Step(6), height=alt.Step(6))
    data = data.assign(instant=data.seconds.map("{:g} s".format))
    return panels(whole, data, "policy", "point", "instant", across=2)


def told(rows: Any) -> str:
    """Say how many cells hold pages that cannot be moved at the end."""
    last = rows[(rows.seconds == rows.seconds.max()) & (rows.type != OFFLINE)]
    parts = [
        f"{policy} {(group['not movable'] > 0).sum():,} of {len(group):,}"
        for policy, group in last.groupby("policy", sort=False)
    ]
    return f"Cells that hold a page that cannot be moved at the end: {', '.join(parts)}."
