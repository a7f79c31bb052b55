"""The walk over a zonelist under policy ``ideal``, which is the same for every kernel."""

from __future__ import annotations

from collections.abc import Callable

from memsim.kernels._jit import helper
from memsim.kernels.ideal import drain_lru_batches, movable_type
from memsim.kernels.ideal_room import make_room
from memsim.kernels.layout import Mem
from memsim.kernels.placement import OPT_IDEAL, PolicyTables
from memsim.kernels.system import S_MAY_MIX
from memsim.kernels.zonelist import AllocContext, next_zone, zonelist_zone

Walk = Callable[[Mem, PolicyTables, AllocContext, int], int]
HasPages = Callable[[Mem, int, AllocContext, int], bool]


@helper
def gives_way(tables: PolicyTables, ac: AllocContext) -> bool:
    """Say whether pages that move can help a request: any free page serves a movable one."""
    single = ac.order == 0 and ac.migratetype == movable_type(tables)
    return int(tables.options[OPT_IDEAL]) != 0 and not single


def ideal_walk(walk: Walk, has_pages: HasPages) -> Walk:
    """Make a kernel's walk under ``ideal`` of its own walk and of its watermarks.

    ``has_pages`` says whether a zone has the pages for a request, in whatever pieces.
    """

    @helper
    def alloc_pages_ideal(m: Mem, tables: PolicyTables, ac: AllocContext, alloc_flags: int) -> int:
        """Let movable pages give way at no cost until there is a block; -1 if that cannot help."""
        drain_lru_batches(m)
        pfn = walk(m, tables, ac, alloc_flags)
        position = next_zone(m, ac, 0)
        while pfn < 0 and position >= 0:
            z = zonelist_zone(m, ac, position)
            enough = has_pages(m, z, ac, alloc_flags)
            if enough and make_room(m, tables, z, ac.order, ac.migratetype):
                pfn = walk(m, tables, ac, alloc_flags)
            else:
                position = next_zone(m, ac, position + 1)
        if pfn < 0:
            m.system[S_MAY_MIX] = 1
            pfn = walk(m, tables, ac, alloc_flags)
            m.system[S_MAY_MIX] = 0
        return pfn

    return alloc_pages_ideal
