"""The words of the kernel's command line that shape memory.

Source: Documentation/admin-guide/kernel-parameters.txt (Linux 6.1).
"""

from __future__ import annotations

from typing import NamedTuple

from memsim.units import CmdlineSize, describe, parse_cmdline_size

THP_MODES = ("always", "madvise", "never")
WORDS = (
    "kernelcore=SIZE, movablecore=SIZE, movable_node or transparent_hugepage=always|madvise|never"
)


class Cmdline(NamedTuple):
    """The words of the kernel's command line that shape its zones."""

    kernelcore: CmdlineSize | None = None
    movablecore: CmdlineSize | None = None
    movable_node: bool = False
    transparent_hugepage: str | None = None


def parse_cmdline(text: str) -> Cmdline:
    """Read a kernel command line; ValueError names the first word that memsim does not know."""
    line = Cmdline()
    seen: set[str] = set()
    for word in text.split():
        name, equals, value = word.partition("=")
        if name in seen:
            raise ValueError(f'kernel command line: "{name}" appears twice')
        seen.add(name)
        if word == "kernelcore=mirror" or name == "numa":
            raise ValueError(f"kernel command line: {describe(word)} is not in this version")
        if name == "kernelcore" and equals:
            line = line._replace(kernelcore=parse_cmdline_size(value))
        elif name == "movablecore" and equals:
            line = line._replace(movablecore=parse_cmdline_size(value))
        elif word == "movable_node":
            line = line._replace(movable_node=True)
        elif name == "transparent_hugepage" and value in THP_MODES:
            line = line._replace(transparent_hugepage=value)
        else:
            raise ValueError(f"kernel command line: expected {WORDS}, found {describe(word)}")
    return line
