"""How a map's data stand in a page: what changed from instant to instant, in few bytes."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from memsim.report.maps import Layer


def encoded(frames: Sequence[Sequence[int]]) -> str:
    """Write frames of equal length as runs of changed cells, in base64.

    Each frame is a number of runs; each run three numbers: how many cells stay before it, how many
    change, and to what. Numbers have seven bits in a byte, the lowest first; the eighth bit says
    that more follow. Before the first frame all cells are 0.
    """
    out = bytearray()
    before: Sequence[int] = [0] * len(frames[0]) if frames else []
    for frame in frames:
        runs: list[list[int]] = []
        stay = 0
        for old, new in zip(before, frame, strict=True):
            if old == new:
                stay += 1
            elif runs and not stay and runs[-1][2] == new:
                runs[-1][1] += 1
            else:
                runs.append([stay, 1, new])
                stay = 0
        for number in (len(runs), *(n for run in runs for n in run)):
            _put(out, number)
        before = frame
    return base64.b64encode(bytes(out)).decode()


def _put(out: bytearray, number: int) -> None:
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def thinned(layer: Layer) -> Layer:
    """Leave out every second instant; the first and the last stay."""
    last = len(layer.times) - 1
    kept = [n for n in range(last + 1) if n % 2 == 0 or n == last]
    return replace(
        layer, times=[layer.times[n] for n in kept], frames=[layer.frames[n] for n in kept]
    )


def as_json(data: Any) -> Any:
    """Write data so that a script element may hold it: no text in it can end the element."""
    from markupsafe import Markup

    text = json.dumps(data, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
