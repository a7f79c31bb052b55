"""The scenario that begins where a snapshot was taken, as text."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator

from memsim.errors import visible
from memsim.mm import PAGE_SIZE, ZONE_NAMES
from memsim.snapshot.observed import Observed
from memsim.snapshot.state import what_is_drawn
from memsim.units import format_bytes

STATE = "state"
"""The folder of copies, beside the scenario."""
WIDTH = 98


def scenario_text(
    name: str, seen: Observed, missing: Iterable[str], differences: Iterable[str]
) -> str:
    """Write a scenario that runs as it is; comments say what is not known of its start state."""
    lines = [
        "# The memory of a real machine, as memsim snapshot found it. It runs as it is: add who",
        "# asks for memory and what happens to it. memsim unplug says what could be taken away.",
        "memsim: 1",
        f'name: "{_name(name)}"',
        "title: The memory of a real machine",
        "duration: 10s",
        "seeds: 1..3",
        "",
        "policies:",
        "  mobility: {placement: mobility}",
        "",
        *_said("Drawn from the seed, as no file tells it:", what_is_drawn(seen)),
        *_said("Not readable when it was taken:", missing),
        *_said("Files read at different moments that contradict each other:", differences),
        *_said("Zones:", _zones(seen)),
        "machine:",
        f"  from: {STATE}",
        f"  block_size: {format_bytes(seen.system.block_pages * PAGE_SIZE)}",
    ]
    if seen.swap_bytes:
        lines.append(f"  swap: {{size: {format_bytes(seen.swap_bytes)}}}")
    node = max(zone.node for zone in seen.zones)
    lines += [
        "",
        "# workloads:",
        "#   app: {kind: process, anon: 256MiB}",
        "",
        "events:",
        "  - {every: 1s, do: probe, orders: [3, 9], attempts: 10, gfp: GFP_KERNEL|__GFP_NORETRY}",
        f"  # - {{at: 5s, do: offline, node: {node}, timeout: 1s}}",
    ]
    return "\n".join(lines) + "\n"


def _name(text: str) -> str:
    """Make a name that a scenario may have."""
    name = re.sub(r"[^A-Za-z0-9._-]", "-", text)[:64]
    return name if re.match(r"[A-Za-z0-9_]", name) else f"snapshot{name}"[:64]


def _said(title: str, sentences: Iterable[str]) -> Iterator[str]:
    """Yield a comment with a line for each sentence; nothing if there is none."""
    for i, sentence in enumerate(sentences):
        if i == 0:
            yield f"# {title}"
        yield from textwrap.wrap(
            visible(sentence), WIDTH, initial_indent="# - ", subsequent_indent="#   "
        )


def _zones(seen: Observed) -> Iterator[str]:
    for zone in seen.zones:
        blocks = " ".join(map(str, zone.free.tolist()))
        yield (
            f"node {zone.node} {ZONE_NAMES[zone.zone_type]}: "
            f"{format_bytes(zone.managed * PAGE_SIZE)} managed, free blocks by order {blocks}"
        )
