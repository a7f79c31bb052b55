"""What the values on the axes make of the metrics, by policy."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import over_seeds
from memsim.plots._headlines import HEADLINES
from memsim.plots._style import in_order, policy_color, sized
from memsim.results import Run
from memsim.results.answer import matters
from memsim.results.tables import csv_text

MISSING = "it has no axis"
HINT = "add axes to the scenario: {machine.block_size: [128MiB, 256MiB]}"
TOLD = 3
MOST = 6
"""Metrics: what people ask first, then what changes most against what the seeds do to it."""


def rows(run: Run) -> Any:
    """Return metrics by policy and point: means and 95 % intervals of those that change most.

    ``x`` and ``y`` are values of the first two axes; others are in ``point``.
    """
    import pandas

    if not run.axes:
        return pandas.DataFrame(columns=["policy", "point"])
    trials = run.trials[run.trials.status == "ok"]
    axes = [csv_text(axis) for axis in run.axes]
    trials = trials.assign(
        x=trials[axes[0]],
        y=trials[axes[1]] if len(axes) > 1 else "",
        point=trials[axes].agg(", ".join, axis=1),
        panel=trials[axes[2:]].agg(", ".join, axis=1) if len(axes) > 2 else "",
    )
    names = [n for n, column in run.metric_columns.items() if matters(column)]
    keys = ["policy", "point", "x", "y", "panel"]
    tables = {}
    for name in names:
        values = trials[csv_text(name)].astype(float)
        table = over_seeds(trials.assign(value=values), keys, "value")
        if len(table) and _tells(table) > 0:
            tables[name] = table
    asked = [name for name in HEADLINES if name in tables]
    others = sorted(tables.keys() - set(asked), key=lambda name: (-_tells(tables[name]), name))
    best = [*asked, *others][:MOST]
    heads = ["policy", "point", "metric", "x", "y", "panel", "mean", "low", "high", "seeds"]
    chosen = [tables[name].assign(metric=name)[heads] for name in best]
    if not chosen:
        return pandas.DataFrame(columns=heads)
    return pandas.concat(chosen).assign(axis_x=run.axes[0], axis_y=(*run.axes, "")[1])


def _tells(table: Any) -> float:
    """Say how far means lie apart along the axes, against their largest and their intervals."""
    span = table.groupby("policy")["mean"].agg(lambda m: m.max() - m.min()).max()
    noise = (table.high - table.low).mean()
    whole = abs(table["mean"]).max()
    return float(span / (whole + (0 if noise != noise else noise))) if whole else 0.0


def chart(rows: Any) -> Any:
    """Draw lines over one axis, or a heat map over two."""
    prefix = _common(in_order(rows, "x"))
    rows = rows.assign(
        x=rows.x.str.removeprefix(prefix), axis_x=rows.axis_x.str.cat([prefix] * len(rows), sep=" ")
    )
    parts = [_panel(rows[rows.metric == metric], metric) for metric in in_order(rows, "metric")]
    columns = 3 if not rows.y.any() else 2
    chart: Any = alt.concat(*parts, columns=columns)
    return chart.resolve_scale(color="independent" if rows.y.any() else "shared")


def _common(values: list[str]) -> str:
    """Return what all values begin with, up to a sign of equality."""
    name, equals, _ = values[0].partition("=")
    return name + equals if all(v.startswith(name + equals) for v in values) and equals else ""


def _panel(rows: Any, metric: str) -> Any:
    xs = in_order(rows, "x")
    x = alt.X("x:O", sort=xs, title=rows.axis_x.iloc[0], axis=alt.Axis(labelAngle=-40))
    if rows.y.any():
        y = alt.Y("y:O", sort=in_order(rows, "y"), title=rows.axis_y.iloc[0])
        color = alt.Color("mean:Q", title=metric).scale(scheme="viridis")
        boxes = alt.Chart(rows).mark_rect().encode(x=x, y=y, color=color)
        facet = alt.Facet("policy:N", sort=in_order(rows, "policy"), title=metric)
        return sized(boxes, 170, 170).facet(facet=facet, columns=3)
    base: Any = alt.Chart(rows).encode(x=x, color=policy_color(rows))
    y = alt.Y("mean:Q", title=None, scale=alt.Scale(zero=True))
    line = base.mark_line(point=True).encode(y=y)
    rules = base.mark_rule().encode(y="low:Q", y2="high:Q")
    chart: Any = sized(alt.layer(line, rules, data=rows).properties(title=metric), 250, 160)
    return chart


def told(rows: Any) -> str:
    """Say for the first metrics between which means they lie, and where."""
    parts = []
    for metric in in_order(rows, "metric")[:TOLD]:
        group = rows[rows.metric == metric].sort_values("mean", kind="stable")
        first, last = group.iloc[0], group.iloc[-1]
        parts.append(
            f"{metric} lies between {first['mean']:,.1f} ({first.policy} at {first.point}) and "
            f"{last['mean']:,.1f} ({last.policy} at {last.point})"
        )
    return f"{'; '.join(parts)}."
