"""Compile every kernel ahead of time, by calling each once on a tiny machine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from memsim.kernels._jit import CACHE, DISABLED
from memsim.kernels.boot import place_lru_pages, remove_lru_pages
from memsim.kernels.linux_2_6_14.boot import setup_zone_migrate_reserve
from memsim.memory import Memory
from memsim.memory.migrating_2005 import migrate
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import MAX_ORDER_NR_PAGES, OP_FREE, Gfp, Migratetype, Use, ZoneType
from memsim.policies import LINUX_2_6_14, LINUX_6_1, Kernel
from memsim.policies.none import Policy
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
        "linux_2_6_14.free_boot_pages": lambda: old.free_boot_range(0, 0, end, 32),
        "linux_2_6_14.setup_zone_migrate_reserve": lambda: setup_zone_migrate_reserve(old.mem, 0),
        "linux_2_6_14.run_batch": lambda: _run(old),
        "linux_2_6_14.drain_all_pages": old.drain_all,
        "linux_2_6_14.isolate_lru_pages": lambda: migrate(old, none, 0),
        "linux_2_6_14.migrate_pages": lambda: migrate(old, np.zeros(1, np.int32), 0),
        "linux_2_6_14.end_migration": lambda: migrate(old, none, 0),
    }


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
