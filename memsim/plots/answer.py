"""How far each policy is from the first one, metric by metric, with 95 % intervals."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.compare import compare
from memsim.plots._style import policy_color, sized
from memsim.results import Run

MISSING = "it has one policy, or none differs from the first"
HINT = "give the scenario several policies"
TELLING = ("better", "worse", "differs")
MOST = 12
FAR = 2.0
"""Differences beyond twice the baseline's mean are cut off in the picture."""


def rows(run: Run) -> Any:
    """Return the differences that are sure, relative to the first policy's mean."""
    import pandas

    heads = ["policy", "point", "metric", "relative", "low", "high", "verdict"]
    if len(run.manifest["policies"]) < 2:
        return pandas.DataFrame(columns=heads)
    records = []
    for row in compare(run).rows:
        if row.verdict in TELLING and row.relative is not None and row.baseline_mean:
            scale = abs(row.baseline_mean)
            low, high = row.low, row.high
            records.append(
                {
                    "policy": row.side,
                    "point": ", ".join(value for _, value in row.point),
                    "metric": row.metric,
                    "relative": row.relative,
                    "low": row.relative if low is None else low / scale,
                    "high": row.relative if high is None else high / scale,
                    "verdict": row.verdict,
                }
            )
    table = pandas.DataFrame(records, columns=heads)
    if len(set(table.point)) > 1:
        return table.head(0)
    kept = list(dict.fromkeys(table.metric))[:MOST]
    return table[table.metric.isin(kept)]


def chart(rows: Any) -> Any:
    """Draw a dot with its interval for each policy and metric."""
    metrics = list(dict.fromkeys(rows.metric))
    cut = rows.assign(**{n: rows[n].clip(-FAR, FAR) for n in ("relative", "low", "high")})
    base: Any = alt.Chart(cut).encode(
        y=alt.Y("metric:N", sort=metrics, title=None),
        yOffset=alt.YOffset("policy:N", sort=list(dict.fromkeys(rows.policy))),
        color=policy_color(rows),
    )
    axis = alt.Axis(format="+.0%", title="difference from the first policy, cut off at 200 %")
    dots = base.mark_point(filled=True, size=70).encode(x=alt.X("relative:Q", axis=axis))
    rules = base.mark_rule(strokeWidth=2).encode(x="low:Q", x2="high:Q")
    zero = alt.Chart(alt.InlineData(values=[{"x": 0}])).mark_rule(
        strokeDash=[4, 3], color="#888888"
    )
    whole = alt.layer(zero.encode(x=alt.X("x:Q", axis=axis)), rules, dots)
    chart: Any = sized(whole, 460, alt.Step(10 + 12 * len(set(rows.policy)), **{"for": "position"}))
    return chart


def told(rows: Any) -> str:
    """Say how many metrics are better and worse under each policy."""
    parts = []
    for policy, group in rows.groupby("policy", sort=False):
        better, worse = (group.verdict == "better").sum(), (group.verdict == "worse").sum()
        parts.append(f"{policy} better in {better}, worse in {worse}")
    return f"Beside the first policy, of the metrics shown: {'; '.join(parts)}."
