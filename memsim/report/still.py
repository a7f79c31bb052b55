"""A map of memory at one instant as a small SVG picture, for pages whose script does not run."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from memsim.memory.mapping import FULL, TYPE_LETTERS
from memsim.report.grid import Grid

COLUMNS = 64
SHADES = 4
"""Steps of fullness."""


def still(grid: Grid, palette: Sequence[str], frame: Sequence[int]) -> Any:
    """Draw a row for each 64 cells: coloured by type, lighter where less is in use.

    Equal neighbours are one stroke, and all strokes of a colour one path.
    """
    from markupsafe import Markup

    paths: dict[str, list[str]] = {}
    runs = [0, *(n for n in range(1, grid.cells) if _breaks(palette, frame, n)), grid.cells]
    for begin, end in pairwise(runs):
        look = _look(palette[frame[begin]])
        if look:
            stroke = f"M{begin % COLUMNS} {begin // COLUMNS}h{end - begin}"
            paths.setdefault(look, []).append(stroke)
    rows = -(-grid.cells // COLUMNS)
    drawn = "".join(f'<path class="{look}" d="{"".join(d)}"/>' for look, d in paths.items())
    return Markup(
        f'<svg class="still" role="img" viewBox="0 -0.5 {COLUMNS} {rows}" '
        f'width="{COLUMNS * 6}" height="{rows * 6}" '
        f'aria-label="The map at the last instant">{drawn}</svg>'
    )


def _breaks(palette: Sequence[str], frame: Sequence[int], n: int) -> bool:
    return n % COLUMNS == 0 or _look(palette[frame[n]]) != _look(palette[frame[n - 1]])


def _look(cell: str) -> str:
    """Name the looks of a cell in the page's style sheet; empty for no memory."""
    if cell[0] not in TYPE_LETTERS:
        return ""
    return f"t{cell[0]} s{-(-int(cell[1], 16) * SHADES // FULL)}"
