"""NUMA balancing (spec 8.6, 8.8): who moves to where he is used, and who is left alone."""

import numpy as np
import pytest
from migration_desk import two_nodes

from memsim.kernels import layout as L
from memsim.memory.balancing import scan
from memsim.memory.migrating import query
from memsim.mm import OP_TOUCH, OP_WRITE, Gfp, Use
from memsim.schema import Request


def touch(memory, handle, cpu, flags=0):
    row = memory.add_requests([Request(Gfp.MOVABLE, Use.ANON, lru=True)])
    memory.run(
        np.array([OP_TOUCH | flags], np.uint8),
        np.array([row], np.uint16),
        np.array([cpu], np.uint16),
        np.array([handle], np.int32),
    )
    memory.check()


def counted(memory, *names):
    vmstat = memory.vmstat()
    return [vmstat[name] for name in names]


FAULTS = ("numa_pte_updates", "numa_hint_faults", "numa_hint_faults_local", "numa_pages_migrated")


def test_a_page_moves_to_the_node_that_accesses_it_once_that_is_noticed():
    memory = two_nodes({0: (2, "anon")})
    touch(memory, 0, cpu=1)
    assert counted(memory, *FAULTS) == [0, 0, 0, 0]
    assert scan(memory, [0, 1]) == 2
    touch(memory, 0, cpu=1)
    touch(memory, 0, cpu=1)
    touch(memory, 1, cpu=0)
    assert query(memory, [0, 1]).tolist() == [1, 0]
    assert counted(memory, *FAULTS) == [2, 2, 1, 1]
    assert counted(memory, "pgmigrate_success", "pgmigrate_fail") == [1, 0]


def test_a_page_that_nodes_take_turns_at_stays():
    memory = two_nodes({0: (1, "anon")})
    for cpu in (0, 1, 0, 1):
        scan(memory, [0])
        touch(memory, 0, cpu)
    assert query(memory, [0]).tolist() == [0]
    scan(memory, [0])
    touch(memory, 0, cpu=1)
    assert query(memory, [0]).tolist() == [1]


@pytest.mark.parametrize(
    ("kind", "traits", "fails"),
    [("dirty", 0, 0), ("huge", L.TRAIT_SHARED, 0), ("pinned", 0, 1), ("huge", 0, None)],
)
def test_some_pages_are_left_alone_silently(kind, traits, fails):
    memory = two_nodes({0: (512 if kind == "huge" else 1, kind)})
    memory.mem.traits[0] = traits
    scan(memory, [0])
    touch(memory, 0, cpu=1)
    moved = fails is None
    assert query(memory, [0]).tolist() == [int(moved)]
    assert counted(memory, "pgmigrate_fail") == [fails or 0]
    assert counted(memory, "thp_migration_success") == [int(moved)]


def test_a_node_that_is_short_of_memory_gets_nothing():
    memory = two_nodes({0: (1, "anon"), 1024: (994, "kernel")}, marks=(10, 20, 30))
    scan(memory, [0])
    touch(memory, 0, cpu=1, flags=OP_WRITE)
    assert query(memory, [0]).tolist() == [0]
    assert counted(memory, "pgmigrate_fail", "numa_hint_faults") == [0, 1]


def test_only_what_is_in_memory_and_of_users_is_noticed():
    memory = two_nodes({0: (1, "anon"), 1: (1, "kernel")})
    gone = memory.add_handles(1)
    memory.page_table[gone] = L.GONE
    assert scan(memory, [0, 1, gone]) == 1
