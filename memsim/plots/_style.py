"""What all charts have in common: colours, sizes, panels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import altair as alt

POLICIES = ["#3b7dd8", "#e07b1a", "#2b9a66", "#b0479c", "#8a6d3b", "#4aa8b5", "#c0392b", "#7f7f7f"]
"""Colours that can be told apart by the colour-blind, on white and on black."""
ORDERS: Final = "viridis"
OUTCOMES = {
    "went": "#2b9a66",
    "moved": "#2b9a66",
    "moved by swap": "#e0a81a",
    "not tried": "#9a9a9a",
}
REASONS = ["#c0392b", "#8e44ad", "#d35400", "#7b5a3a", "#2c3e90", "#a8326e", "#5f7a12", "#117a7a"]
PANEL_WIDTH, PANEL_HEIGHT = 260, 170
COLUMNS = 3


def in_order(rows: Any, column: str) -> list[Any]:
    """Return the values of a column as they first come."""
    return list(dict.fromkeys(rows[column].tolist()))


def policy_color(rows: Any) -> alt.Color:
    """Give each policy its colour, the same in all pictures of a run."""
    there = in_order(rows, "policy")
    names = [*rows.attrs.get("policies", there)]
    colors = [POLICIES[n % len(POLICIES)] for n in range(len(names))]
    legend = alt.Legend(values=there, symbolOpacity=1)
    scale = alt.Scale(domain=names, range=colors)
    return alt.Color("policy:N", sort=names, title="policy", scale=scale, legend=legend)


def outcome_color(values: Sequence[str], heading: str) -> alt.Color:
    """Give each outcome its colour: what went well is green, each reason has its own."""
    others = [value for value in values if value not in OUTCOMES]
    colors = {**OUTCOMES, **dict(zip(others, REASONS * (1 + len(others)), strict=False))}
    scale = alt.Scale(domain=list(values), range=[colors[value] for value in values])
    return alt.Color("outcome:N", sort=list(values), title=heading, scale=scale)


def panels(chart: Any, rows: Any, *columns: str, across: int = COLUMNS) -> Any:
    """Draw a panel for each value of those columns that have several; they are in one caption."""
    telling = [name for name in columns if len(in_order(rows, name)) > 1]
    if not telling:
        return chart
    caption = rows[telling].astype(str).agg(" · ".join, axis=1)
    captions = list(dict.fromkeys(caption))
    whole = chart.properties(data=rows.assign(panel=caption))
    header = alt.Header(title=None, labelFontSize=12, labelFontWeight="bold", labelLimit=400)
    return whole.facet(
        facet=alt.Facet("panel:N", sort=captions, header=header),
        columns=min(across, len(captions)),
    )


def sized(chart: Any, width: Any = PANEL_WIDTH, height: Any = PANEL_HEIGHT) -> Any:
    """Give a panel its size."""
    return chart.properties(width=width, height=height)
