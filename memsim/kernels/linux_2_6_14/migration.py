"""One call of page migration: what it works on, its steps, and what becomes of each page.

Source: mm/vmscan.c (migrate_pages), Direct Migration V1 and Linux 2.6.16 (spec history-2005 3.2,
linux-mm 10).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MIGRATE_PASSES = 11
"""Linux begins another pass while ``pass++ < 10``."""
LAST_TRYLOCK_PASS = 2
"""Passes up to this one leave a locked page alone; later ones wait for its lock."""

V1, LINUX_2_6_16 = range(2)
"""Whose migrate_pages: the one that was posted on 4 November 2005, or what was merged."""
FULL_SWAP, FULL_ENOMEM, FULL_OTHER_NODE = range(3)
"""What to do when the target node is full: swap out, give up, or take pages of other nodes."""

(
    NOT_TRIED,
    MOVED_DIRECT,
    MOVED_SWAP,
    FREED_MEANWHILE,
    FAILED_NO_SWAP,
    FAILED_LOCKED,
    FAILED_WRITEBACK,
    FAILED_DIRTY,
    FAILED_BUFFERS,
    FAILED_MLOCKED,
    FAILED_PINNED,
    FAILED_NO_MEMORY,
    FAILED_SHARED,
    FAILED_NOT_LRU,
    ALREADY_THERE,
    NOT_IN_MEMORY,
) = range(16)
"""What becomes of a page. Those from FAILED_LOCKED to FAILED_PINNED are why an attempt has to be
repeated, and stay where no pass is left."""
GOES_ON = NOT_TRIED
"""In place of a fate: nothing keeps an attempt from its next step."""

(
    STEP_LOCK,
    STEP_WAIT_ON_LOCK,
    STEP_WAIT_ON_WRITEBACK,
    STEP_ADD_TO_SWAP,
    STEP_WRITE_OUT,
    STEP_RELEASE_BUFFERS,
    STEP_CHECK_REFERENCES,
    STEP_SWITCH_MAPPING,
    STEP_UNMAP,
    STEP_CHECK_AGAIN,
    STEP_EARLY_FLAGS,
    STEP_COPY,
    STEP_LATE_FLAGS,
    STEP_CLEAR_OLD,
    STEP_REMOVE_FROM_SWAP,
    STEP_START_WRITEBACK,
    STEP_UNLOCK,
    STEP_FREE,
) = range(18)
"""Steps of an attempt. A direct move of v1 switches the mapping before it unmaps, 2.6.16 after."""

(
    FAULT,
    WRITE_FAULT,
    GET_PAGE,
    PUT_PAGE,
    LOCK_PAGE,
    UNLOCK_PAGE,
    PUT_BUFFERS,
    WRITE_PAGE,
    EXIT,
) = range(9)
"""What others do to a page meanwhile: a process touches it or writes to it; somebody takes or gives
back an extra reference, or the page lock; needs its buffers no longer; wants it written; the
process that it belongs to ends."""

(
    MIGRATE_WRITEBACK_STARTED,
    MIGRATE_WRITEBACK_WAITED,
    MIGRATE_QUEUED_WRITEBACK_STARTED,
    MIGRATE_LOCK_WAITED,
    MIGRATE_FAULTS_WAITED,
    MIGRATE_FAULT_WAIT_MODEL_NS,
    MIGRATE_WAIT_MODEL_NS,
    MIGRATE_SWAP_SLOTS,
    MIGRATE_TLB_FLUSHES,
) = range(9)
NR_COUNTS = 9

(
    ROW_LOCKED,
    ROW_SWITCHED,
    ROW_PLACE,
    ROW_REFERENCES,
    ROW_WAITING,
    ROW_WAIT_SUM,
    ROW_DEFERRED,
    ROW_NEXT_TARGET,
    ROW_NR_TARGETS,
    ROW_STEPS,
    ROW_LAST_LOOK,
    ROW_WRITES,
) = range(12)
NR_ROW = 12
"""Of the attempt at hand: 1 while it holds the page lock; 1 once the mapping names the new page;
where the page is to be found; waiting processes that hold the old page; processes that wait, and
the sum of the instants at which they began to; a bit for each FAULT.. that is put off until the
page is unlocked. Of the call: the list of target pages; lines of ``steps``; up to which instant
touches have been looked at; 1 if a process that waits wants to write."""
STEP_FIELDS = 3
"""pass, STEP_*, time at which it begins."""
DISTURBANCE_FIELDS = 4
"""place in the list, pass (-1: every one), STEP_* before which it happens, FAULT.."""
EVERY_PASS = -1


class Migration(NamedTuple):
    """A call of migrate_pages for n pages."""

    pages: NDArray[np.int32]
    """(n,) isolated pages in list order; what is not isolated has a fate already."""
    fate: NDArray[np.uint8]
    passes: NDArray[np.uint8]
    """(n,) attempts."""
    waits: NDArray[np.int32]
    """(n,) times that somebody's lock or the end of a write was waited for."""
    model_ns: NDArray[np.int64]
    """(n,) what all attempts took."""
    new_pfn: NDArray[np.int32]
    """(n,) where the page was moved to, -1."""
    pending: NDArray[np.int32]
    """(n,) places in the list of the pages that are still to be moved."""
    targets: NDArray[np.int32]
    """(n,) pages to move to."""
    touch_first: NDArray[np.int32]
    """(n + 1,) where each page's instants begin in ``touch_time``."""
    touch_time: NDArray[np.int64]
    """When processes touch the pages, ascending for each page."""
    disturbances: NDArray[np.int32]
    """(k * DISTURBANCE_FIELDS,)"""
    steps: NDArray[np.int64]
    """(STEP_FIELDS * lines,) steps of the watched page."""
    counts: NDArray[np.int64]
    row: NDArray[np.int64]
    nr_disturbances: int
    nr_steps: int
    """Lines that ``steps`` has room for."""
    watched: int
    """Place of the page whose steps are kept, -1 for none."""
    observed: int
    """1 if there are disturbances, touches or a watched page."""
    touched: int
    code: int
    target_full: int
    cpu: int
    deadline: int
    """Instant after which no more pages are tried."""
    copy_ns: int
    bookkeeping_ns: int
    flush_ns: int
