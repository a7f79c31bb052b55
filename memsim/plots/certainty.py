"""Best effort against certainty: pages that migrate, and sections that could be removed."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import clipped, good_trials, over_seeds, percent, placed
from memsim.plots._style import POLICIES, in_order
from memsim.results import Run

MISSING = "it takes an event that moves pages and memory that is meant to be removed"
HINT = "see memsim run certainty: migrate_pages, and a node with hotpluggable: true"
MIGRATED, REMOVABLE = "pages that migrate", "sections that could go"
KEYS = ["policy", "point", "what"]


def rows(run: Run) -> Any:
    """Return by policy and point which part of the pages moved, and of the sections could go."""
    import pandas

    moves = placed(run, run.migration)
    moves = moves.groupby(["policy", "point", "seed"], sort=False)[
        ["attempted", "moved_direct", "moved_swap"]
    ].sum()
    moves = moves[moves.attempted > 0].reset_index()
    moves["share"] = (moves.moved_direct + moves.moved_swap) / moves.attempted
    trials = good_trials(run)
    # What events have removed is among the memory blocks no more.
    gone = trials["hotplug.blocks_removed"].fillna(0).astype(float)
    blocks = trials["hotplug.memory_blocks"].fillna(0).astype(float) + gone
    share = (trials["hotplug.removable_blocks"].fillna(0).astype(float) + gone) / blocks
    trials, share = trials[blocks > 0], share[blocks > 0]
    if moves.empty or trials.empty:
        return trials.head(0)[["policy", "point"]]
    both = [moves.assign(what=MIGRATED), trials.assign(share=share, what=REMOVABLE)]
    long = pandas.concat([table[["policy", "point", "what", "share"]] for table in both])
    return clipped(over_seeds(long, KEYS, "share"), 0, 1)


def chart(rows: Any) -> Any:
    """Draw two lines for each policy over the points of the axes."""
    policies, points = in_order(rows, "policy"), in_order(rows, "point")
    base: Any = alt.Chart(rows).encode(
        x=alt.X("point:O", sort=points, title=rows.attrs.get("axes") or None),
        color=alt.Color("policy:N", sort=policies, scale=alt.Scale(range=POLICIES)),
    )
    y = alt.Y("mean:Q", title="part", axis=alt.Axis(format=".0%"), scale=alt.Scale(domain=[0, 1]))
    dash = alt.StrokeDash("what:N", title=None, sort=[MIGRATED, REMOVABLE])
    shape = alt.Shape("what:N", title=None, sort=[MIGRATED, REMOVABLE])
    lines = base.mark_line().encode(y=y, strokeDash=dash)
    dots = base.mark_point(size=60, filled=True).encode(y=y, shape=shape)
    rules = base.mark_rule().encode(y="low:Q", y2="high:Q")
    chart: Any = alt.layer(lines, dots, rules, data=rows).properties(width=480, height=280)
    return chart


def told(rows: Any) -> str:
    """Say both parts for each policy, sections at the first and the last point."""
    parts = []
    for policy, group in rows.groupby("policy", sort=False):
        moved = group[group.what == MIGRATED]["mean"].mean()
        left = group[group.what == REMOVABLE]
        first, last = left.iloc[0], left.iloc[-1]
        text = f"{policy} migrates {percent(moved)} of the pages; {percent(first['mean'])} of the "
        text += f"sections could go at {first.point}" if first.point else "sections could go"
        if last.point != first.point:
            text += f", {percent(last['mean'])} at {last.point}"
        parts.append(text)
    return f"{'. '.join(parts)}."
