"""Repeat a recorded migration: the machine before it, the process with its pages, the call.

What the words of a record stand for: ``kind`` anon, thp, hugetlb, or file, whose ``path`` says the
file system; ``lock`` mlocks the pages; ``pin`` pins some, ``pinby`` vmsplice (for short) or uring
(for long); ``op`` move_pages, migrate_pages or mbind; ``all`` asks for MOVE_ALL. What fills a
target is told by the label: anonymous memory of another process (``hog``), mlocked (``locked``),
page cache (``cache``, ``clean``), dirty (``dirty``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels import layout as L
from memsim.kernels.system import S_DIRTY_BACKGROUND
from memsim.memory import Memory
from memsim.memory.migrate_call import UNTOUCHED, MigrateOutcome
from memsim.memory.migrating import (
    mbind,
    migrate_pages,
    move_pages,
    pin,
    query,
)
from memsim.mm import (
    OP_TOUCH,
    OP_WRITE,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    PAGEBLOCK_ORDER,
    Gfp,
    Use,
    gfp_from_text,
)
from memsim.schema import Request

ANON_GFP = gfp_from_text("GFP_HIGHUSER_MOVABLE|__GFP_THISNODE")
THP_GFP = gfp_from_text("GFP_TRANSHUGE|__GFP_THISNODE")
KIB_PER_PAGE = PAGE_SIZE // 1024
CALLER, FILLER = 0, 1
"""The CPUs that migrate and that fill a target, where there are two."""
BUNCH = 1 << 14
FILLING_ROUNDS = 100
NOBODY = -2
"""In place of a node: the page is not in memory."""


@dataclass(frozen=True)
class Setting:
    """What a line of the record says of the situation, and of the call."""

    label: str
    args: Mapping[str, str]
    pages: int
    pinned: int
    where_before: Mapping[int, int]
    """Pages by node, NOBODY for those that are not in memory."""
    free_kb_before: tuple[int, ...]

    @property
    def op(self) -> str:
        """The system call."""
        return self.args.get("op", "move_pages")

    @property
    def source(self) -> int:
        """The node that pages are moved from."""
        return int(self.args.get("node", 0))

    @property
    def target(self) -> int:
        """The node that pages are moved to."""
        return int(self.args.get("to", 1))

    @property
    def kind(self) -> str:
        """What kind of pages: anon, thp, hugetlb or file."""
        return self.args.get("kind", "anon")

    @property
    def swap(self) -> bool:
        """Swap is on."""
        return self.args.get("swap", "0") != "0"

    def says(self, *words: str) -> bool:
        """Whether the label, an argument, or what one is set to has one of the words."""
        values = (value for key, value in self.args.items() if key not in ("path", "op"))
        text = " ".join((self.label, *values))
        return any(word in text or self.args.get(word, "0") != "0" for word in words)

    @property
    def shared(self) -> bool:
        """Two processes have the pages mapped."""
        return self.says("shared", "share", "fork", "mapper", "mappers", "twoproc")

    @property
    def move_all(self) -> bool:
        """Pages of several processes are moved too; migrate_pages was root's."""
        asked = self.says("moveall", "move_all") or self.args.get("all", "0") != "0"
        return asked or self.label.endswith("_all") or self.op == "migrate_pages"


class Nature(NamedTuple):
    """What the pages of a process are."""

    request: Request
    order: int
    traits: int


def nature_of(setting: Setting) -> Nature:
    """Say what the pages of a setting are."""
    node, locked = setting.source, setting.args.get("lock", "0") != "0"
    path = setting.args.get("path", "")
    traits = L.TRAIT_SHARED if setting.shared else 0
    if setting.kind == "hugetlb":
        request = Request(THP_GFP, Use.KERNEL, preferred=node)
        return Nature(request, PAGEBLOCK_ORDER, traits | L.TRAIT_HUGETLB)
    if setting.kind == "thp":
        request = Request(THP_GFP, Use.ANON, preferred=node, lru=True, mlocked=locked)
        return Nature(request, PAGEBLOCK_ORDER, traits)
    if setting.kind != "file" or path.startswith(("/tmp", "/dev/shm")):
        traits |= L.TRAIT_SHMEM if setting.kind in ("file", "shm", "shmem") else 0
        request = Request(ANON_GFP, Use.ANON, preferred=node, lru=True, mlocked=locked)
        return Nature(request, 0, traits)
    ramfs = path.startswith("/ramfs")
    gfp = ANON_GFP | (Gfp.WRITE if ramfs or setting.says("dirty") else Gfp.NONE)
    request = Request(
        gfp, Use.PAGE_CACHE, preferred=node, lru=True, mapped=True, mlocked=locked or ramfs
    )
    return Nature(request, 0, traits | (L.TRAIT_RAMFS if ramfs else L.TRAIT_BUFFERS))


class Moved(NamedTuple):
    """What a repeated migration came to."""

    outcome: MigrateOutcome
    status: dict[int, int]
    """Pages by status; only move_pages writes any."""
    where_after: dict[int, int]
    """Pages by node, NOBODY for those that are not in memory."""


def repeat(memory: Memory, setting: Setting) -> Moved:
    """Carry out a setting's migration on the memory of the machine before the first one."""
    handles = _process(memory, setting)
    _fill(memory, setting)
    chosen = np.arange(setting.pinned) * setting.pages // max(setting.pinned, 1)
    pin(memory, handles[chosen], long_term=setting.args.get("pinby") == "uring")
    outcome = _call(memory, setting, handles)
    where = query(memory, handles)
    for handle, first in outcome.split.tolist():
        pieces = np.arange(first, first + PAGEBLOCK_NR_PAGES - 1)
        where[np.flatnonzero(handles == handle)[1:]] = query(memory, pieces)
    status = {UNTOUCHED: setting.pages}
    if setting.op == "move_pages":
        status = _histogram(outcome.status)
    return Moved(outcome, status, _histogram(where))


def _histogram(values: NDArray[np.int32]) -> dict[int, int]:
    found, counts = np.unique(values, return_counts=True)
    return dict(zip(found.tolist(), counts.tolist(), strict=True))


def _call(memory: Memory, setting: Setting, handles: NDArray[np.int32]) -> MigrateOutcome:
    whole = np.unique(handles)
    old, new, move_all = setting.source, setting.target, setting.move_all
    if setting.op == "migrate_pages":
        return migrate_pages(memory, whole, [old], [new], move_all=move_all, cpu=CALLER)
    if setting.op == "mbind":
        strict = setting.args.get("strict", "1") != "0"
        return mbind(memory, whole, [new], strict=strict, move_all=move_all, cpu=CALLER)
    return move_pages(memory, handles, new, move_all=move_all, cpu=CALLER)


def _process(memory: Memory, setting: Setting) -> NDArray[np.int32]:
    """Let a process have its pages; return the handle of each of its addresses."""
    nature = nature_of(setting)
    each = 1 << nature.order
    parts = []
    for node, pages in sorted(setting.where_before.items()):
        if node < 0:
            parts.append(np.repeat(_handles(memory, pages // each), each))
            continue
        request = replace(nature.request, preferred=node)
        mine = _take(memory, request, pages // each, nature.order, CALLER)
        memory.mem.traits[mine] = nature.traits
        parts.append(np.repeat(mine, each))
    return np.concatenate(parts)


def _handles(memory: Memory, count: int) -> NDArray[np.int32]:
    first = memory.add_handles(count)
    return np.arange(first, first + count, dtype=np.int32)


def _take(memory: Memory, request: Request, count: int, order: int, cpu: int) -> NDArray[np.int32]:
    row, handles = memory.add_requests([request]), _handles(memory, count)
    for start in range(0, count, BUNCH):
        part = handles[start : start + BUNCH]
        same = np.zeros(len(part), np.uint16)
        op = np.full(len(part), order, np.uint8)
        memory.run(op, same + row, same + cpu, part)
    return handles


def _fill(memory: Memory, setting: Setting) -> None:
    """Let others have so much of the target that what was free before the call is left.

    A CPU's lists give theirs first, which do not count as free, so that takes several rounds.
    """
    filler = _filler(setting)
    cpu = min(FILLER, len(memory.setup.cpu_node) - 1)
    for _ in range(FILLING_ROUNDS):
        pages = _excess(memory, setting)
        if pages <= 0:
            break
        _take(memory, filler, pages, 0, cpu)
    if setting.says("dirty") and setting.kind == "anon":
        _dirty(memory, int(memory.mem.system[S_DIRTY_BACKGROUND]))


def _excess(memory: Memory, setting: Setting) -> int:
    """Count the free pages of the target that were not free before the call."""
    wanted = setting.free_kb_before[setting.target] // KIB_PER_PAGE
    return _free(memory, setting.target) - wanted


def _filler(setting: Setting) -> Request:
    """Say what the target's memory is full of."""
    node = setting.target
    locked = setting.says("locked")
    if setting.says("cache", "clean", "dirty") and not locked:
        return Request(ANON_GFP, Use.PAGE_CACHE, preferred=node, lru=True)
    locked = locked or not setting.says("hog")
    return Request(ANON_GFP, Use.ANON, preferred=node, lru=True, mlocked=locked)


def _dirty(memory: Memory, pages: int) -> None:
    """Write to the youngest pages of the page cache, as many as stay dirty for a while."""
    last = len(memory.page_table)
    handles = np.arange(max(last - pages, 0), last, dtype=np.int32)
    same = np.zeros(len(handles), np.uint16)
    memory.run(np.full(len(handles), OP_TOUCH | OP_WRITE, np.uint8), same, same, handles)


def _free(memory: Memory, node: int) -> int:
    zones = enumerate(memory.setup.zones)
    return sum(memory.nr_free_pages(z) for z, zone in zones if zone.node == node)
