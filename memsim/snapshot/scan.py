"""What the flags of its pages say of a memory block: whether it can go (spec linux-mm 9.2-9.4)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import ZONE_NAMES, ZoneType
from memsim.traces import _page_flags as kpf

Answer = Literal["no", "no obstacle seen", "unknown"]
USER = kpf.LRU | kpf.ANON | kpf.MMAP | kpf.HUGE | kpf.THP
OTHER_MOVABLE = kpf.BALLOON | kpf.HWPOISON
"""A balloon moves its pages; a page with a hardware error does not keep memory."""
OF_KERNEL = {
    "slab": kpf.SLAB,
    "page table": kpf.PGTABLE,
    "kernel": (1 << 64) - 1,
}
"""By name, those that are asked for first."""
SHOWN_PFNS = 4


class Span(NamedTuple):
    """Where a zone may have memory."""

    node: int
    zone_type: ZoneType
    start_pfn: int
    end_pfn: int


class Obstacles(NamedTuple):
    """Pages of one kind each of which keeps a block."""

    kind: str
    pages: int
    first_pfns: tuple[int, ...]


@dataclass(frozen=True)
class BlockScan:
    """What is seen of a memory block; counts are pages."""

    number: int
    span: Span | None
    """The zone; None if the block is in several, or in none."""
    answer: Answer
    why: str
    """Why it does not go, or why that is unknown; else empty."""
    obstacles: tuple[Obstacles, ...] = ()
    to_move: int = 0
    """Of users: these must find a place elsewhere."""
    free: int = 0
    unknown: int = 0
    """Without any flag: on a per-CPU list, and so free, or the kernel's."""
    marked: int = 0
    """Anonymous and marked as accessed, but not active: whoever pins a page marks it so."""

    @property
    def zone(self) -> str:
        """``node1 Normal``, empty if the block is not in one zone."""
        return f"node{self.span.node} {ZONE_NAMES[self.span.zone_type]}" if self.span else ""

    def chance(self, pin_rate: float) -> float | None:
        """Say how likely it goes if each page to be moved is pinned with this probability.

        None where that is unknown. Pages of unknown kind are taken to be free.
        """
        if self.answer == "unknown":
            return None
        return 0.0 if self.answer == "no" else float((1 - pin_rate) ** self.to_move)


def scan_block(
    number: int,
    block_pages: int,
    spans: Sequence[Span],
    flags: NDArray[np.uint64] | None,
    *,
    mapped: NDArray[np.bool_] | None = None,
    most_cached: int = -1,
) -> BlockScan:
    """Look at the pages of one block, as the kernel does before it isolates them.

    ``spans`` are those of all zones that have memory in the block. ``mapped`` says by pfn what
    processes map; ``most_cached`` is how many pages the per-CPU lists of the zone hold, -1 if that
    is unknown. Reference counts and pins are in no file.
    """
    start = number * block_pages
    if len(spans) != 1:
        why = "is in more than one zone" if spans else "holds no memory"
        return BlockScan(number, None, "no", why)
    span = spans[0]
    if flags is None:
        return BlockScan(number, span, "unknown", "kpageflags cannot be read")
    mine = flags[start : start + block_pages]
    if len(mine) < block_pages or (mine & kpf.NOPAGE).any():
        return BlockScan(number, span, "no", "has a hole")
    found = tuple(_obstacles(mine, start, span.zone_type))
    unknown = mine == 0
    count = int(np.count_nonzero(unknown))
    if span.zone_type != ZoneType.MOVABLE:
        found += tuple(_in_use(unknown, start, mapped, most_cached))
    user = of_users(mine)
    marks = kpf.ANON | kpf.REFERENCED | kpf.ACTIVE | kpf.UNEVICTABLE
    return BlockScan(
        number=number,
        span=span,
        answer="no" if found else "no obstacle seen",
        why=", ".join(f"{one.pages:,} {one.kind}" for one in found),
        obstacles=found,
        to_move=int(np.count_nonzero(user)),
        free=int(np.count_nonzero(mine & kpf.BUDDY)),
        unknown=count,
        marked=int(np.count_nonzero(mine & marks == kpf.ANON | kpf.REFERENCED)),
    )


def of_users(flags: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Say which pages (n,) by their flags belong to processes, files or huge pages."""
    of_kernel = kpf.RESERVED | kpf.BUDDY | kpf.SLAB | kpf.PGTABLE
    found: NDArray[np.bool_] = (flags & USER != 0) & (flags & of_kernel == 0)
    return found


def _obstacles(flags: NDArray[np.uint64], start: int, zone_type: ZoneType) -> Iterator[Obstacles]:
    """Yield what can never go: reserved memory everywhere, the kernel's pages outside Movable."""
    reserved = flags & kpf.RESERVED != 0
    yield from _named("reserved", reserved, start)
    if zone_type == ZoneType.MOVABLE:
        return
    rest = ~reserved & ~of_users(flags) & (flags & (kpf.BUDDY | OTHER_MOVABLE) == 0)
    for kind, mask in OF_KERNEL.items():
        here = rest & (flags & mask != 0)
        yield from _named(kind, here, start)
        rest &= ~here


def _in_use(
    unknown: NDArray[np.bool_],
    start: int,
    mapped: NDArray[np.bool_] | None,
    most_cached: int,
) -> Iterator[Obstacles]:
    """Yield pages without flags that cannot all be on per-CPU lists."""
    count = int(np.count_nonzero(unknown))
    if mapped is not None:
        here = unknown & mapped[start : start + len(unknown)]
        yield from _named("of unknown kind and mapped by a process", here, start)
        count -= int(np.count_nonzero(here))
    if 0 <= most_cached < count:
        yield Obstacles("of unknown kind, more than per-CPU lists hold", count - most_cached, ())


def _named(kind: str, here: NDArray[np.bool_], start: int) -> Iterator[Obstacles]:
    pfns = start + np.flatnonzero(here)
    if len(pfns):
        yield Obstacles(kind, len(pfns), tuple(pfns[:SHOWN_PFNS].tolist()))
