"""The rules of spec 5.5 on compacting again, straight from the kernel."""

import pytest
from pressure import PressedMachine

from memsim.kernels import layout as L
from memsim.kernels.compaction import PRIO_ASYNC, PRIO_SYNC_FULL, PRIO_SYNC_LIGHT
from memsim.kernels.compaction_suitable import (
    COMPACT_COMPLETE,
    COMPACT_CONTENDED,
    COMPACT_DEFERRED,
    COMPACT_PARTIAL_SKIPPED,
    COMPACT_SKIPPED,
    COMPACT_SUCCESS,
)
from memsim.kernels.retry import should_compact_retry
from memsim.kernels.zonelist import AllocContext
from memsim.mm import ZoneType

LIGHT, FULL = PRIO_SYNC_LIGHT, PRIO_SYNC_FULL


def retry(order, result, priority, retries, files=0):
    memory = PressedMachine(1024, []).memory
    memory.add_zone_field(0, L.Z_LRU + L.LRU_INACTIVE_FILE, files)
    ac = AllocContext(order, 0, ZoneType.NORMAL, 0, 0, -1, 0)
    return should_compact_retry(memory.mem, ac, 0, result, priority, retries)


@pytest.mark.parametrize(
    ("order", "priority", "retries", "expected"),
    [
        (3, LIGHT, 15, (True, LIGHT, 16)),
        (3, LIGHT, 16, (True, FULL, 0)),
        (3, FULL, 16, (False, FULL, 17)),
        (4, LIGHT, 3, (True, LIGHT, 4)),
        (4, LIGHT, 4, (False, LIGHT, 5)),
        (4, PRIO_ASYNC, 4, (True, LIGHT, 0)),
    ],
)
def test_5_5_compaction_that_seems_to_help_is_repeated_so_often(order, priority, retries, expected):
    assert retry(order, COMPACT_SUCCESS, priority, retries) == expected


@pytest.mark.parametrize(
    "result", [COMPACT_COMPLETE, COMPACT_DEFERRED, COMPACT_CONTENDED, COMPACT_PARTIAL_SKIPPED]
)
def test_5_5_compaction_that_does_not_help_is_repeated_with_more_effort_only(result):
    assert retry(3, result, LIGHT, 0) == (True, FULL, 0)
    assert retry(3, result, FULL, 0) == (False, FULL, 0)
    assert retry(4, result, LIGHT, 0) == (False, LIGHT, 0)


def test_5_5_compaction_that_was_skipped_is_repeated_if_reclaim_can_make_room():
    assert retry(3, COMPACT_SKIPPED, LIGHT, 0, files=48) == (False, LIGHT, 0)
    assert retry(3, COMPACT_SKIPPED, LIGHT, 0, files=51) == (True, LIGHT, 0)
    assert retry(0, COMPACT_SUCCESS, LIGHT, 0) == (False, LIGHT, 0)
