"""NUMA balancing: a page that is used from another node is moved there when it is next accessed.

Source: do_numa_page, mm/memory.c; should_numa_migrate_memory, kernel/sched/fair.c;
migrate_misplaced_page, mm/migrate.c, Linux 6.1 (spec 8.6, 8.8).

Unlike Linux: a task has no preferred node, and no page is shared by groups of tasks: a page goes to
the node of the access if the one before, that was noticed, came from there too or was the first.
"""

from __future__ import annotations

from errno import EAGAIN

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline, kernel, pointers, ptr
from memsim.kernels.compact_control import MIGRATE_ASYNC, MOVABLE_REQUEST
from memsim.kernels.layout import (
    PAGE_ALLOCATED,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_LRU,
    REQ_FS,
    REQ_IO,
    REQ_NOMEMALLOC,
    REQ_NORETRY,
    REQ_THISNODE,
    TRAIT_SHARED,
    Z_NODE,
    Mem,
    page_zone,
    zone_get,
)
from memsim.kernels.lru import lru_pages
from memsim.kernels.migrate import MIGRATE_PASSES, isolate_lru_page, putback_lru_page
from memsim.kernels.migrate_one import unmap_and_move
from memsim.kernels.migrate_target import (
    MOVABLE_ZONE,
    NUMA_MISPLACED,
    TargetRequest,
    stays_balanced,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import N_DEMOTION_MASK, NODE_FIELDS, S_NUMA_BALANCING
from memsim.kernels.vmstat import (
    NUMA_HINT_FAULTS,
    NUMA_HINT_FAULTS_LOCAL,
    NUMA_PAGES_MIGRATED,
    NUMA_PTE_UPDATES,
    PGMIGRATE_FAIL,
    PGMIGRATE_SUCCESS,
    PGPROMOTE_SUCCESS,
    THP_MIGRATION_FAIL,
    THP_MIGRATION_SUCCESS,
)
from memsim.mm import PAGEBLOCK_NR_PAGES

HINT = 1
MISPLACED_FLAGS = REQ_IO | REQ_FS | REQ_THISNODE | REQ_NOMEMALLOC | REQ_NORETRY


@kernel
def change_prot_numa(mem: Mem, handles: NDArray[np.int32]) -> int:
    """Let the next access to each of these pages be noticed; return how many are in memory."""
    m = pointers(mem)
    pages = ptr(handles)
    m.system[S_NUMA_BALANCING] = 1
    count = 0
    for i in range(len(handles)):
        handle = int(pages[i])
        pfn = int(m.page_table[handle]) - 1
        if pfn >= 0 and int(m.state[pfn]) & PAGE_LRU:
            m.numa_hints[handle] = int(m.numa_hints[handle]) | HINT
            m.events[NUMA_PTE_UPDATES] += lru_pages(int(m.state[pfn]))
            count += 1
    return count


@inline
def numa_hint_fault(m: Mem, tables: PolicyTables, cpu: int, handle: int) -> None:
    """Take note of an access to a page, if NUMA balancing wants to know of it."""
    if int(m.numa_hints[handle]) & HINT:
        do_numa_page(m, tables, cpu, handle)


@helper
def do_numa_page(m: Mem, tables: PolicyTables, cpu: int, handle: int) -> None:
    """Look where a page is that was accessed; move it if it is misplaced."""
    pfn = int(m.page_table[handle]) - 1
    home = int(m.cpu_node[cpu])
    last = int(m.numa_hints[handle]) >> 1
    m.numa_hints[handle] = home + 1 << 1
    m.events[NUMA_HINT_FAULTS] += 1
    if zone_get(m, page_zone(m, pfn), Z_NODE) == home:
        m.events[NUMA_HINT_FAULTS_LOCAL] += 1
    elif last in (0, home + 1) and may_be_moved(m, pfn, int(m.traits[handle])):
        migrate_misplaced_page(m, tables, cpu, home, pfn)


@inline
def may_be_moved(m: Mem, pfn: int, traits: int) -> bool:
    """Say whether balancing touches a page: not a dirty one of a file, nor a shared huge one."""
    state = int(m.state[pfn])
    if state & PAGE_DIRTY and not state & PAGE_ANON:
        return False
    if traits & TRAIT_SHARED and lru_pages(state) == PAGEBLOCK_NR_PAGES:
        return False
    return state & (PAGE_ALLOCATED | PAGE_LRU | PAGE_ISOLATED) == PAGE_ALLOCATED | PAGE_LRU


@helper
def migrate_misplaced_page(m: Mem, tables: PolicyTables, cpu: int, node: int, pfn: int) -> None:
    """Move a page to a node if that has memory to spare; nobody is told if that fails."""
    pages = lru_pages(int(m.state[pfn]))
    slower = int(m.nodes[node * NODE_FIELDS + N_DEMOTION_MASK])
    promoted = pages * (slower >> zone_get(m, page_zone(m, pfn), Z_NODE) & 1)
    if not stays_balanced(m, node, pages):
        return
    isolate_lru_page(m, pfn)
    migratetype = int(tables.type_of_request[MOVABLE_REQUEST])
    want = TargetRequest(migratetype, True, MOVABLE_ZONE, MISPLACED_FLAGS, node, -1)
    code = -EAGAIN
    attempt = 0
    while code == -EAGAIN and attempt < MIGRATE_PASSES:
        code = unmap_and_move(m, tables, want, pfn, cpu, MIGRATE_ASYNC, NUMA_MISPLACED, attempt)
        attempt += 1
    huge = 1 if pages == PAGEBLOCK_NR_PAGES else 0
    if code == 0:
        m.events[PGMIGRATE_SUCCESS] += pages
        m.events[NUMA_PAGES_MIGRATED] += pages
        m.events[PGPROMOTE_SUCCESS] += promoted
        m.events[THP_MIGRATION_SUCCESS] += huge
    else:
        putback_lru_page(m, pfn)
        m.events[PGMIGRATE_FAIL] += pages
        m.events[THP_MIGRATION_FAIL] += huge
