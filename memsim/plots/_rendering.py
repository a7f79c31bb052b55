"""Charts as bytes: PNG, SVG, a page. No network, no browser, no code of others in the page."""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from memsim.errors import InputError, Problem, visible
from memsim.plots import Drawing

if TYPE_CHECKING:
    from pandas import DataFrame

Form = Literal["png", "svg", "html"]
FORMS: tuple[Form, ...] = get_args(Form)
MOST_ROWS = 2000
"""Of the table below a picture; the run's tables have all."""
FONT = "system-ui, 'DejaVu Sans', sans-serif"
STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 70rem; padding: 0 1rem;
  background: Canvas; color: CanvasText; }
figure { margin: 0; overflow-x: auto; }
table { border-collapse: collapse; margin-top: 1rem; }
th, td { padding: .1rem .6rem; text-align: left; border-bottom: 1px solid #8885; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
"""


def form_of(path: Path) -> Form:
    """Say what a file is to be by its name; raises InputError."""
    for form in FORMS:
        if path.suffix.lower() == f".{form}":
            return form
    message = f"expected a file name that ends with {', '.join(f'.{form}' for form in FORMS)}"
    raise InputError([Problem(str(path), 0, 0, message)])


def rendered(drawing: Drawing, form: Form, *, scale: float = 2.0) -> bytes:
    """Return a drawing as the bytes of a file; ``scale`` is that of PNG."""
    import vl_convert

    if form == "html":
        return page(drawing).encode()
    spec = specification(drawing, ink="#222222", paper="#ffffff")
    if form == "png":
        return bytes(vl_convert.vegalite_to_png(spec, scale=scale, allowed_base_urls=[]))
    return str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[])).encode()


def specification(drawing: Drawing, *, ink: str, paper: str | None) -> dict[str, Any]:
    """Return a chart in the words of Vega-Lite, with these colours of text and background."""
    import altair as alt

    alt.data_transformers.disable_max_rows()
    text = {"labelColor": ink, "titleColor": ink, "labelFont": FONT, "titleFont": FONT}
    lines = {"gridColor": "#88888855", "domainColor": "#888888", "tickColor": "#888888"}
    spec: dict[str, Any] = drawing.chart.to_dict()
    config = {
        "background": paper,
        "axis": {**text, **lines, "titleFontWeight": "normal", "labelLimit": 320},
        "legend": {**text, "labelLimit": 320},
        "header": {**text, "labelLimit": 400},
        "title": {"color": ink, "font": FONT},
        "view": {"stroke": "#88888888"},
        "text": {"font": FONT},
    }
    return {**spec, "config": {**spec.get("config", {}), **config}}


def inline_svg(drawing: Drawing, prefix: str = "") -> str:
    """Return a drawing as SVG for a page: in the page's own ink, named for who cannot see it.

    ``prefix`` tells its inner names from those of the same figure of another run.
    """
    import vl_convert

    spec = specification(drawing, ink="currentColor", paper=None)
    svg = str(vl_convert.vegalite_to_svg(spec, allowed_base_urls=[]))
    # Names within a page are unique; those of Vega count from 0 in each picture.
    svg = re.sub(r'(id="|url\(#|href="#)([\w-]+)', rf"\g<1>{prefix}{drawing.name}-\2", svg)
    label = html.escape(f"{drawing.title} {drawing.text}", quote=True)
    # What is inside is said by the label, and by the table.
    svg = re.sub(r' (role|aria-[a-z]+)="[^"]*"', "", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1)


def page(drawing: Drawing) -> str:
    """Return a page with one drawing: the picture, the same in words, and as a table."""
    name = html.escape(drawing.title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>{name}</h1>\n"
        f"<figure>{inline_svg(drawing)}</figure>\n<p>{html.escape(visible(drawing.text))}</p>\n"
        f"{table(drawing.rows)}</body></html>\n"
    )


def table(rows: DataFrame) -> str:
    """Return rows as an HTML table; text is escaped."""
    heads = "".join(f'<th scope="col">{html.escape(visible(str(n)))}</th>' for n in rows.columns)
    lines = [
        "".join(map(_cell, row)) for row in rows.head(MOST_ROWS).itertuples(index=False, name=None)
    ]
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<table class="sortable"><thead><tr>{heads}</tr></thead>\n<tbody>{body}</tbody></table>\n'
    )


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return f"<td>{html.escape(visible(value))}</td>"
    return f'<td class="number">{number(value)}</td>'


def number(value: float) -> str:
    """Write a number as people read it; nothing for none."""
    if value is None or value != value:
        return ""
    if value == int(value):
        return f"{int(value):,}"
    return f"{value:,.1f}" if abs(value) >= 100 else f"{value:.3g}"
