"""How much of the memory that is meant to be removed could go, over time."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import NS, over_seeds, placed
from memsim.plots._style import panels, policy_color, sized
from memsim.results import Run
from memsim.units import BYTES

MISSING = "none of its memory is meant to be removed, or none could ever go"
HINT = "mark a node: {id: 1, cpus: 4-7, memory: 1GiB, hotpluggable: true}"


def rows(run: Run) -> Any:
    """Return MiB in blocks that could go by policy and instant: means and 95 % intervals."""
    table = placed(run, run.timeline)
    if not table.removable_bytes.any():
        return table.head(0)[["policy", "point"]]
    sums = table.groupby(["policy", "point", "time_ns", "seed"], sort=False)["removable_bytes"]
    mib = (sums.sum() / BYTES["MiB"]).reset_index()
    out = over_seeds(mib, ["policy", "point", "time_ns"], "removable_bytes")
    low = out.low.clip(lower=0)
    return out.assign(seconds=out.time_ns / NS, low=low).drop(columns="time_ns")


def chart(rows: Any) -> Any:
    """Draw a line for each policy, with a band for its interval."""
    base: Any = alt.Chart(rows).encode(
        x=alt.X("seconds:Q", title="simulated seconds"), color=policy_color(rows)
    )
    line = base.mark_line().encode(y=alt.Y("mean:Q", title="could be removed, MiB"))
    band = base.mark_area(opacity=0.18).encode(y="low:Q", y2="high:Q")
    return panels(sized(alt.layer(band, line, data=rows), 420, 220), rows, "point")


def told(rows: Any) -> str:
    """Say how much could go at the end."""
    last = rows[rows.seconds == rows.seconds.max()].groupby("policy", sort=False)["mean"].mean()
    parts = [f"{policy} {mean:,.0f} MiB" for policy, mean in last.items()]
    text = f"Could be removed at the end: {', '.join(parts)}"
    return f"{text}; what events have removed by then is not counted."
