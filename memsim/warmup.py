"""Compile every kernel ahead of time, by calling each once on a tiny machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from memsim.kernels._jit import CACHE, DISABLED
from memsim.kernels.boot import place_lru_pages, remove_lru_pages
from memsim.kernels.linux_2_6_14.boot import setup_zone_migrate_reserve
from memsim.memory import Memory
from memsim.memory.balancing import scan
from memsim.memory.boot import boot
from memsim.memory.contiguous import alloc_contig
from memsim.memory.hotplug import offline
from memsim.memory.hotplug_2005 import offline_2005
from memsim.memory.hugetlb import fault, set_nr_hugepages, unmap
from memsim.memory.migrate_call import Call
from memsim.memory.migrating_2005 import migrate
from memsim.memory.onlining import online
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import (
    MAX_ORDER_NR_PAGES,
    OP_FREE,
    PAGE_SIZE,
    PAGEBLOCK_NR_PAGES,
    SECTION_PAGES,
    Gfp,
    MigrateMode,
    MigrateReason,
    Migratetype,
    Use,
    ZoneType,
)
from memsim.policies import LINUX_2_6_14, LINUX_6_1, Kernel
from memsim.policies.none import Policy
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node
from memsim.schema import Request


def cache_directory() -> Path | None:
    """Return where compiled kernels are kept; None without the JIT or a folder to write to."""
    return CACHE


def is_cold() -> bool:
    """Say whether kernels would have to be compiled before anything can run."""
    return not DISABLED and (CACHE is None or not any(CACHE.rglob("*run_batch*.nbc")))


def entry_points() -> dict[str, Callable[[], object]]:
    """Return a call of each kernel that Python enters, by name; to be called in this order.

    Those of 2.6.14 stand behind the others, as ``linux_2_6_14.run_batch``.
    """
    memory, old = _tiny(LINUX_6_1), _tiny(LINUX_2_6_14)
    end = 4 * MAX_ORDER_NR_PAGES
    none = np.zeros(0, np.int32)
    top = np.array([end - MAX_ORDER_NR_PAGES], np.int32)
    return {
        "free_boot_blocks": lambda: memory.free_boot_range(0, 0, end - MAX_ORDER_NR_PAGES),
        "place_free_blocks": lambda: memory.place_free(0, 10, Migratetype.MOVABLE, top),
        "run_batch": lambda: _run(memory),
        "drain_all_pages": memory.drain_all,
        "compact_nodes": memory.compact_memory,
        "compact_nodes_proactively": memory.compact_proactively,
        "node_score": lambda: memory.fragmentation_score(0),
        "place_lru_pages": lambda: place_lru_pages(memory.mem, none),
        "remove_lru_pages": lambda: remove_lru_pages(memory.mem, none),
        "walk_free_list": lambda: memory.free_list(0, 10, Migratetype.MOVABLE),
        "walk_lru_list": lambda: memory.lru_list(0, 0),
        "count_zone": memory.census,
        "count_memory_blocks": memory.census,
        "check": memory.check,
        **_migrations(memory),
        **_removals(_booted()),
        **_huge_pages(_booted()),
        "linux_2_6_14.free_boot_pages": lambda: old.free_boot_range(0, 0, end, 32),
        "linux_2_6_14.setup_zone_migrate_reserve": lambda: setup_zone_migrate_reserve(old.mem, 0),
        "linux_2_6_14.run_batch": lambda: _run(old),
        "linux_2_6_14.drain_all_pages": old.drain_all,
        "linux_2_6_14.isolate_lru_pages": lambda: migrate(old, none, 0),
        "linux_2_6_14.migrate_pages": lambda: migrate(old, np.zeros(1, np.int32), 0),
        "linux_2_6_14.end_migration": lambda: migrate(old, none, 0),
        **_removals_2005(old),
    }


def _migrations(memory: Memory) -> dict[str, Callable[[], object]]:
    handle = np.zeros(1, np.int32)
    calls = ("begin_call", "isolate_pages", "migrate_list", "time_spent")
    return {
        **dict.fromkeys(calls, lambda: _migrate(memory)),
        "change_prot_numa": lambda: scan(memory, handle),
    }


def _migrate(memory: Memory) -> None:
    """Begin a call that moves a page which is not there."""
    call = Call(memory, 0)
    nothing = np.zeros(0, np.int32)
    call.isolate(nothing)
    request = Request(Gfp.RECLAIM, Use.ANON)
    call.migrate(nothing, request, MigrateMode.SYNC, MigrateReason.SYSCALL)
    call.outcome(0, nothing)


def _removals(memory: Memory) -> dict[str, Callable[[], object]]:
    """Give up a section, take it away, bring it back, take its first pageblock as a whole."""
    section = (2 * SECTION_PAGES, SECTION_PAGES)
    calls = {
        "isolate_range": lambda: offline(memory, *section, timeout_ns=0),
        "undo_offline": lambda: offline(memory, *section, timeout_ns=0),
        "find_obstacles": lambda: offline(memory, *section, timeout_ns=0),
        "collect_movable_pages": lambda: offline(memory, *section),
        "online_range": lambda: online(memory, *section),
    }
    at_once = ("has_holes", "first_not_free", "offline_isolated_pages")
    whole = ("isolate_contig_range", "isolate_migratepages_range", "reclaim_clean_pages")
    taken = ("take_contig_range", "undo_contig_range")
    return {
        **calls,
        **dict.fromkeys(at_once, lambda: offline(memory, *section)),
        **dict.fromkeys(
            (*whole, *taken), lambda: alloc_contig(memory, SECTION_PAGES, PAGEBLOCK_NR_PAGES)
        ),
    }


def _huge_pages(memory: Memory) -> dict[str, Callable[[], object]]:
    """Keep a huge page, map it, give it back; the section that it is in does not matter."""
    handle = np.zeros(1, np.int32)
    return {
        "add_to_pool": lambda: set_nr_hugepages(memory, (1,)),
        "fault_huge_pages": lambda: fault(memory, handle, 0, None),
        "give_back_huge_pages": lambda: unmap(memory, handle),
        "dissolve_free_huge_pages": lambda: offline(memory, 2 * SECTION_PAGES, SECTION_PAGES),
    }


def _removals_2005(memory: Memory) -> dict[str, Callable[[], object]]:
    """Give up a pageblock, then take it away."""
    block = (MAX_ORDER_NR_PAGES, MAX_ORDER_NR_PAGES)
    given_up = ("isolate_range", "undo_isolate_range")
    gone = ("take_lru_pages", "migrate_range", "drain", "first_in_use", "offline_isolated_pages")
    return {
        **{f"linux_2_6_14.{name}": lambda: offline_2005(memory, *block, 0) for name in given_up},
        **{f"linux_2_6_14.{name}": lambda: offline_2005(memory, *block) for name in gone},
    }


def _booted() -> Memory:
    """Return a machine of half a GiB, from which memory can go."""
    machine = Machine(nodes=(Node(id=0, cpus=(0,), memory=4 * SECTION_PAGES * PAGE_SIZE),))
    return boot(machine, Cmdline(), Policy().tables(LINUX_6_1))


def _tiny(kernel: Kernel) -> Memory:
    """Return a machine of one zone without free memory, and a request for it."""
    pages = 4 * MAX_ORDER_NR_PAGES
    zone = ZoneSetup(
        node=0,
        zone_type=ZoneType.NORMAL,
        start_pfn=0,
        end_pfn=pages,
        present=pages,
        managed=pages,
        watermark=(0, 0, 0, 0),
        lowmem_reserve=(0,) * len(ZoneType),
        pcp_high=64,
        pcp_batch=16,
        stat_threshold=1,
        nofragment=True,
    )
    setup = MachineSetup(
        zones=(zone,),
        zonelists=(((0,), (0,)),),
        cpu_node=(0,),
        hotpluggable=((0, pages),),
        mechanism=kernel.mechanism,
        max_page_order=kernel.max_page_order,
        pageblock_order=kernel.pageblock_order,
    )
    memory = Memory(setup, Policy().tables(kernel))
    memory.add_requests([Request(Gfp.RECLAIM, Use.KERNEL)])
    memory.add_handles(1)
    return memory


def _run(memory: Memory) -> None:
    """Allocate a page and free it."""
    op = np.array([0, OP_FREE], np.uint8)
    memory.run(op, np.zeros(2, np.uint16), np.zeros(2, np.uint16), np.zeros(2, np.int32))
