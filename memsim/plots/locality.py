"""What an access to memory cost before and after pages moved, and when the move paid for itself."""

from __future__ import annotations

from typing import Any

import altair as alt

from memsim.plots._frames import NS, placed
from memsim.plots._style import panels, sized
from memsim.results import Run

MISSING = "no workload whose pages an event moved accessed its memory before and after"
HINT = "give the workload touch: {rate: 100000/s}, and add an event that moves its pages"
PS_IN_NS = 1000
NEVER = "never"


def rows(run: Run) -> Any:
    """Return nanoseconds for an access by policy and move: means over seeds.

    ``payback`` is the mean time after which cheaper accesses had saved the move's own cost, or
    ``never`` if it did so for no seed. Costs are model figures, never held against hardware.
    """
    table = placed(run, run.migration)
    table = table[(table.access_ps_before > 0) & (table.access_ps_after > 0)]
    table = table.assign(move=table.event + " " + table.workload)
    keys = ["policy", "point", "move"]
    means = table.groupby(keys, sort=False)[["access_ps_before", "access_ps_after"]].mean()
    paid = table[table.payback_model_ns >= 0].groupby(keys, sort=False)["payback_model_ns"].mean()
    times = {at: f"after {_digits(ns / NS)} s" for at, ns in paid.items()}
    payback = [times.get(at, NEVER) for at in means.index]
    out = means.reset_index()
    before, after = out.access_ps_before / PS_IN_NS, out.access_ps_after / PS_IN_NS
    return out[keys].assign(before_ns=before, after_ns=after, payback=payback)


def _digits(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 100 else f"{seconds:.3g}"


def chart(rows: Any) -> Any:
    """Draw a line from before to after for each policy, with the time until it paid off."""
    data = rows.assign(caption="paid back: " + rows.payback)
    base: Any = alt.Chart(data).encode(
        y=alt.Y("policy:N", title=None, sort=list(dict.fromkeys(rows.policy)))
    )
    axis = alt.Axis(title="nanoseconds for an access: open before, full after")
    scale = alt.Scale(zero=False, padding=30)
    line = base.mark_rule(color="#888888", strokeWidth=2).encode(
        x=alt.X("before_ns:Q", axis=axis, scale=scale), x2="after_ns:Q"
    )
    before = base.mark_point(size=90, color="#e07b1a", strokeWidth=2).encode(x="before_ns:Q")
    after = base.mark_point(size=90, color="#2b9a66", filled=True, opacity=1).encode(x="after_ns:Q")
    labels = base.mark_text(dy=-11, fontSize=10, color="#888888").encode(
        x="after_ns:Q", text="caption:N"
    )
    whole = sized(alt.layer(line, before, after, labels, data=data), 340, alt.Step(44))
    return panels(whole, data, "move", "point")


def told(rows: Any) -> str:
    """Say the change and the payback of each policy."""
    parts = [
        f"{row.policy} {row.before_ns:.0f} to {row.after_ns:.0f} ns (paid back: {row.payback})"
        for row in rows.itertuples()
    ]
    more = f", and {len(parts) - 6} more" if len(parts) > 6 else ""
    return f"Cost of an access before and after: {'; '.join(parts[:6])}{more}."
