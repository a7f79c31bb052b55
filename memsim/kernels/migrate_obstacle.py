"""What keeps a page where it is, apart from locks and writes that end by themselves.

Source: move_to_new_folio, fallback_migrate_folio, __buffer_migrate_folio, mm/migrate.c, Linux
6.1.192 (spec 8.4 h).
"""

from __future__ import annotations

from errno import EAGAIN, EBUSY, EINVAL

from memsim.kernels._jit import helper, inline
from memsim.kernels.compact_control import MIGRATE_SYNC
from memsim.kernels.layout import (
    BUFFERS_AT_HAND,
    PAGE_DIRTY,
    PAGE_PINNED,
    TRAIT_BUFFERS_IN_USE,
    TRAIT_NO_MIGRATE_OP,
    TRAIT_RAMFS,
    Mem,
)
from memsim.kernels.lru import page_holder
from memsim.kernels.migrate import let_buffers_go
from memsim.kernels.system import S_BUFFERS_LET_GO

NEEDS_WRITE = 1
"""In place of an errno: the page has to be written first."""


@inline
def traits_of(m: Mem, pfn: int) -> int:
    """Say what a page holds besides its state (TRAIT_*)."""
    handle = page_holder(m, pfn)
    return int(m.traits[handle]) if handle >= 0 else 0


@helper
def obstacle(m: Mem, pfn: int, mode: int) -> int:
    """Say 0 if a page that is not being written can be moved, NEEDS_WRITE, or a negative errno."""
    traits = traits_of(m, pfn)
    busy = -EAGAIN
    if traits & TRAIT_RAMFS:
        return -EINVAL if mode == MIGRATE_SYNC else -EBUSY
    if traits & TRAIT_NO_MIGRATE_OP:
        if int(m.state[pfn]) & PAGE_DIRTY:
            return NEEDS_WRITE if mode == MIGRATE_SYNC else -EBUSY
        busy = -EAGAIN if mode == MIGRATE_SYNC else -EBUSY
    if traits & TRAIT_BUFFERS_IN_USE:
        return busy
    if int(m.swap_slot[pfn]) == BUFFERS_AT_HAND:
        m.system[S_BUFFERS_LET_GO] = 1
        let_buffers_go(m, pfn)
    return -EAGAIN if int(m.state[pfn]) & PAGE_PINNED else 0
