"""What became of the pages that were to move, and why pages stayed."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.mm import WhyStayed
from memsim.plots._frames import percent, placed
from memsim.plots._style import outcome_color, panels, sized
from memsim.results import Run

MISSING = "no event moved pages"
HINT = "add an event: {at: 10s, do: migrate_pages, workload: db, from: [1], to: [0]}"
OUTCOMES = {
    "moved_direct": "moved",
    "moved_swap": "moved by swap",
    **{f"stayed_{why.name.lower()}": why.name.lower().replace("_", " ") for why in WhyStayed},
}


def rows(run: Run) -> Any:
    """Return pages by policy, event and outcome: means over seeds of all times of an event."""
    table = placed(run, run.migration)
    moves = table.event + " " + table.workload
    keys = ["policy", "point", "move"]
    sums = table.assign(move=moves).groupby([*keys, "seed"], sort=False)[[*OUTCOMES]].sum()
    long = sums.groupby(level=keys, sort=False).mean().reset_index().melt(
        keys, [*OUTCOMES], "outcome", "pages"
    )  # fmt: skip
    long["outcome"] = long.outcome.map(OUTCOMES)
    long["share"] = long.pages / long.groupby(keys, sort=False)["pages"].transform("sum")
    return long[long.pages > 0]


def chart(rows: Any) -> Any:
    """Draw a bar for each policy, with a part for each outcome."""
    outcomes = [text for text in OUTCOMES.values() if text in set(rows.outcome)]
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("policy:N", title=None, sort=list(dict.fromkeys(rows.policy))),
            x=alt.X("share:Q", title="part of the pages that were to move", stack="zero").axis(
                format=".0%"
            ),
            color=outcome_color(outcomes, "outcome"),
            order=alt.Order("place:Q"),
        )
    )
    place = {text: n for n, text in enumerate(outcomes)}
    rows = rows.assign(place=rows.outcome.map(place))
    return panels(sized(bars.properties(data=rows), height=alt.Step(28)), rows, "move", "point")


def told(rows: Any) -> str:
    """Say how many pages moved under each policy, and why most of the others stayed."""
    parts = []
    for policy, group in rows.groupby("policy", sort=False):
        by = group.groupby("outcome", sort=False)["pages"].sum()
        stayed = by.drop(["moved", "moved by swap"], errors="ignore")
        why = f" (most that stayed: {stayed.idxmax()})" if stayed.sum() else ""
        parts.append(f"{policy} {percent(1 - stayed.sum() / by.sum())}{why}")
    return f"Pages that moved: {'; '.join(parts)}."
