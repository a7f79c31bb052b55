"""Moving a list of pages: chunks, passes, what each failure means, and what is counted.

Source: migrate_pages, migrate_pages_batch, mm/migrate.c, Linux 6.1.192 (spec 8.3, 8.5, 8.7).
"""

from __future__ import annotations

from errno import EAGAIN, ENOMEM
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.kernels._jit import helper, inline
from memsim.kernels.layout import (
    ORDER_MASK,
    ORDER_SHIFT,
    PAGE_ISOLATED,
    PAGE_LRU,
    TRAIT_HUGETLB,
    Mem,
)
from memsim.kernels.lru import lru_pages
from memsim.kernels.migrate import MIGRATE_PASSES, putback_lru_page
from memsim.kernels.migrate_obstacle import traits_of
from memsim.kernels.migrate_one import unmap_and_move
from memsim.kernels.migrate_run import prefetch_sources, run_of_moves
from memsim.kernels.migrate_split import split_huge_page
from memsim.kernels.migrate_target import (
    LONGTERM_PIN,
    NUMA_MISPLACED,
    TargetRequest,
    target_request,
)
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    NR_MIGRATION_FIELDS,
    S_HUGETLB_ISOLATED,
    S_MIGRATED,
    S_MIGRATION,
)
from memsim.kernels.trace_log import LOG_MIGRATE_PAGES, log_event
from memsim.kernels.vmstat import (
    NUMA_PAGES_MIGRATED,
    PGMIGRATE_FAIL,
    PGMIGRATE_SUCCESS,
    THP_MIGRATION_FAIL,
    THP_MIGRATION_SPLIT,
    THP_MIGRATION_SUCCESS,
)
from memsim.mm import PAGEBLOCK_NR_PAGES

NR_MAX_BATCHED_MIGRATION = 512
"""Base pages of a chunk."""
TURN_ALL, TURN_HUGETLB, TURN_OTHERS = range(3)
"""Whose turn it is: everybody's, or, where there are such, first that of hugetlb blocks."""
NOT_TRIED = 1
"""In place of an errno: the call ended before the page's turn."""
SPLIT = 2
"""In place of an errno, plus the order, while the chunk is at hand: the block was split."""
(
    MIG_FAILED,
    MIG_THP_SUCCEEDED,
    MIG_THP_FAILED,
    MIG_THP_SPLIT,
    MIG_FAILED_FOLIOS,
) = range(NR_MIGRATION_FIELDS)
"""Base pages, huge pages, and blocks of any size that count in what is returned."""


class Call(NamedTuple):
    """One call of migrate_pages (n isolated blocks)."""

    pages: NDArray[np.int32]
    """The first page of each block."""
    codes: NDArray[np.int8]
    tries: NDArray[np.int8]
    """What becomes of each block, see ``migrate_pages``."""
    want: TargetRequest
    cpu: int
    mode: int
    reason: int


@inline
def tally(m: Mem, field: int, count: int) -> None:
    """Add to what the call at hand has come to (MIG_*)."""
    m.system[S_MIGRATION + field] += count


@inline
def tallied(m: Mem, field: int) -> int:
    """Read what the call at hand has come to (MIG_*)."""
    return int(m.system[S_MIGRATION + field])


@inline
def tally_success(m: Mem, pages: int) -> None:
    """Count a block that has moved."""
    m.system[S_MIGRATED] += pages
    tally(m, MIG_THP_SUCCEEDED, 1 if pages == PAGEBLOCK_NR_PAGES else 0)


@inline
def tally_failure(m: Mem, block_pages: int, pages: int) -> None:
    """Count a block that stays, and base pages that have failed on its account."""
    tally(m, MIG_FAILED, pages)
    tally(m, MIG_FAILED_FOLIOS, 1)
    tally(m, MIG_THP_FAILED, 1 if block_pages == PAGEBLOCK_NR_PAGES else 0)


@inline
def is_hugetlb(m: Mem, pfn: int) -> bool:
    """Say whether a block is of the hugetlb pool; such ones are moved before all others."""
    return traits_of(m, pfn) & TRAIT_HUGETLB != 0


@inline
def has_its_turn(m: Mem, pfn: int, turn: int) -> bool:
    """Say whether it is a block's turn (TURN_*)."""
    return turn == TURN_ALL or is_hugetlb(m, pfn) == (turn == TURN_HUGETLB)


@helper
def chunk_end(
    m: Mem, pages: NDArray[np.int32], codes: NDArray[np.int8], first: int, stop: int, total: int
) -> int:
    """Say where the chunk ends that goes on at ``first``: before 512 base pages are exceeded.

    ``total`` of them have moved. Blocks of the hugetlb pool have had their turn.
    """
    some_hugetlb = int(m.system[S_HUGETLB_ISOLATED])
    i = first
    while i < stop:
        pfn = int(pages[i])
        prefetch_sources(m, pages, i, stop)
        if int(codes[i]) == NOT_TRIED and not (some_hugetlb and is_hugetlb(m, pfn)):
            total += lru_pages(int(m.state[pfn]))
            if total > NR_MAX_BATCHED_MIGRATION and total > lru_pages(int(m.state[pfn])):
                return i
        i += 1
    return stop


@helper
def putback_pieces(m: Mem, head: int, pages: int) -> int:
    """Put the pages of a split block that have not moved back on their list; -EAGAIN if any."""
    result = 0
    for pfn in range(head, head + pages):
        if int(m.state[pfn]) & PAGE_ISOLATED:
            putback_lru_page(m, pfn)
            result = -EAGAIN
    return result


@inline
def move_block(m: Mem, tables: PolicyTables, call: Call, head: int, attempt: int) -> int:
    """Try to move a block of the call; see ``unmap_and_move``."""
    return unmap_and_move(m, tables, call.want, head, call.cpu, call.mode, call.reason, attempt)


@helper
def migrate_pieces(m: Mem, tables: PolicyTables, call: Call, head: int, pages: int) -> int:
    """Move the pages of a block that was split; return 0, or a negative errno if some stay.

    Those are back on their LRU list. -ENOMEM: there was no target, and the call ends.
    """
    result = 0
    retry = 0
    for attempt in range(MIGRATE_PASSES):
        retry = 0
        for pfn in range(head, head + pages):
            if result == -ENOMEM or not int(m.state[pfn]) & PAGE_ISOLATED:
                continue
            code = move_block(m, tables, call, pfn, attempt)
            if code == 0:
                m.system[S_MIGRATED] += 1
            elif code == -EAGAIN:
                retry += 1
            else:
                result = code
                tally(m, MIG_FAILED, 1 + (retry if code == -ENOMEM else 0))
                putback_lru_page(m, pfn)
        if retry == 0 or result == -ENOMEM:
            break
    tally(m, MIG_FAILED, 0 if result == -ENOMEM else retry)
    left = putback_pieces(m, head, pages)
    return result if result != 0 else left


@helper
def split_to_move(m: Mem, head: int, reason: int) -> int:
    """Split a block that found no target: SPLIT, -EAGAIN to try again, -ENOMEM to give up."""
    order = (int(m.state[head]) & ORDER_MASK) >> ORDER_SHIFT
    code = -ENOMEM
    if order > 0 and reason != NUMA_MISPLACED and not is_hugetlb(m, head):
        code = split_huge_page(m, head)
    if code == 0:
        return SPLIT + order
    return -EAGAIN if code == -EAGAIN and reason == LONGTERM_PIN else -ENOMEM


@helper
def end_chunk(m: Mem, tables: PolicyTables, call: Call, first: int, stop: int, turn: int) -> int:
    """Give up what still cannot be moved, and move the pages of blocks that were split."""
    for i in range(first, stop):
        head = int(call.pages[i])
        if int(call.codes[i]) == -EAGAIN and has_its_turn(m, head, turn):
            block_pages = lru_pages(int(m.state[head]))
            tally_failure(m, block_pages, block_pages)
    result = 0
    for i in range(first, stop):
        if int(call.codes[i]) >= SPLIT:
            block_pages = 1 << int(call.codes[i]) - SPLIT
            head = int(call.pages[i])
            if result == 0:
                code = migrate_pieces(m, tables, call, head, block_pages)
                result = -ENOMEM if code == -ENOMEM else 0
            else:
                code = putback_pieces(m, head, block_pages)
            call.codes[i] = code
    return result


@inline
def move_run(m: Mem, tables: PolicyTables, call: Call, first: int, stop: int) -> int:
    """Move as many blocks of the call as simply go; see ``run_of_moves``."""
    return run_of_moves(m, tables, call.want, call.pages, first, stop, call.cpu, call.reason)


@inline
def note_run(m: Mem, call: Call, first: int, count: int) -> None:
    """Note that pages have moved at their first attempt."""
    for i in range(first, first + count):
        call.codes[i] = 0
        call.tries[i] = 1
    m.system[S_MIGRATED] += count


@helper
def migrate_chunk(
    m: Mem, tables: PolicyTables, call: Call, first: int, stop: int, turn: int
) -> int:
    """Move the blocks of a chunk whose turn it is (TURN_*); return -ENOMEM to end the call."""
    for attempt in range(MIGRATE_PASSES):
        retry_pages = 0
        i = first - 1
        while i + 1 < stop:
            i += 1
            head = int(call.pages[i])
            if int(call.codes[i]) not in (NOT_TRIED, -EAGAIN) or not has_its_turn(m, head, turn):
                continue
            if attempt == 0 and turn == TURN_ALL:
                moved = move_run(m, tables, call, i, stop)
                if moved:
                    note_run(m, call, i, moved)
                    i += moved - 1
                    continue
            block_pages = lru_pages(int(m.state[head]))
            code = move_block(m, tables, call, head, attempt)
            call.tries[i] += 1
            if code == -ENOMEM:
                code = split_to_move(m, head, call.reason)
            call.codes[i] = code
            if code == 0:
                tally_success(m, block_pages)
            elif code >= SPLIT:
                call.tries[i] = -int(call.tries[i])
                tally_failure(m, block_pages, 0)
                tally(m, MIG_THP_SPLIT, 1 if block_pages == PAGEBLOCK_NR_PAGES else 0)
            elif code == -EAGAIN:
                retry_pages += block_pages
            elif code == -ENOMEM:
                tally_failure(m, block_pages, block_pages + retry_pages)
                return -ENOMEM
            else:
                tally_failure(m, block_pages, block_pages)
        if retry_pages == 0:
            break
    return end_chunk(m, tables, call, first, stop, turn)


@helper
def count_migration(m: Mem, mode: int, reason: int) -> None:
    """Count and log what a call has come to."""
    succeeded, failed = int(m.system[S_MIGRATED]), tallied(m, MIG_FAILED)
    thp_succeeded, thp_failed = tallied(m, MIG_THP_SUCCEEDED), tallied(m, MIG_THP_FAILED)
    thp_split = tallied(m, MIG_THP_SPLIT)
    m.system[S_MIGRATED] = 0
    m.events[PGMIGRATE_SUCCESS] += succeeded
    m.events[PGMIGRATE_FAIL] += failed
    m.events[THP_MIGRATION_SUCCESS] += thp_succeeded
    m.events[THP_MIGRATION_FAIL] += thp_failed
    m.events[THP_MIGRATION_SPLIT] += thp_split
    m.events[NUMA_PAGES_MIGRATED] += succeeded if reason == NUMA_MISPLACED else 0
    why = reason + 16 * mode
    log_event(m, LOG_MIGRATE_PAGES, succeeded, failed, thp_succeeded, thp_failed, thp_split, why)


@helper
def migrate_pages(
    m: Mem,
    tables: PolicyTables,
    cpu: int,
    rq: NDArray[np.int64],
    pages: NDArray[np.int32],
    first: int,
    stop: int,
    mode: int,
    reason: int,
    codes: NDArray[np.int8],
    tries: NDArray[np.int8],
) -> int:
    """Move the isolated blocks that ``pages[first:stop]`` head, in list order.

    ``rq`` is the request row (R_*) that targets are asked for with: without a node in it the
    source's own is preferred; zones, and how large targets are asked for, follow from the source.
    ``codes`` gets 0 for a block that has moved, NOT_TRIED, or a negative errno; ``tries`` the
    attempts, negative for a block that was split (its pages that stay are back on their list).
    Returns the number of blocks that were not moved, or a negative errno. What is still isolated
    is for the caller to put back (``putback_movable_pages``).
    """
    for field in range(NR_MIGRATION_FIELDS):
        m.system[S_MIGRATION + field] = 0
    some_hugetlb = False
    for i in range(first, stop):
        codes[i] = NOT_TRIED
        tries[i] = 0
    i = first
    while i < stop and int(m.system[S_HUGETLB_ISOLATED]) and not some_hugetlb:
        some_hugetlb = is_hugetlb(m, int(pages[i]))
        i += 1
    call = Call(pages, codes, tries, target_request(rq), cpu, mode, reason)
    result = 0
    turn = TURN_ALL
    if some_hugetlb:
        result = migrate_chunk(m, tables, call, first, stop, TURN_HUGETLB)
        turn = TURN_OTHERS
    start = first
    while start < stop and result == 0:
        moved = 0
        if turn == TURN_ALL:
            moved = move_run(m, tables, call, start, stop)
            note_run(m, call, start, moved)
        start += moved
        end = chunk_end(m, pages, codes, start, stop, moved % NR_MAX_BATCHED_MIGRATION)
        result = migrate_chunk(m, tables, call, start, end, turn)
        start = end
    count_migration(m, mode, reason)
    failed = tallied(m, MIG_FAILED_FOLIOS)
    if result != 0 or failed == 0:
        return result
    for i in range(first, stop):
        if int(codes[i]) != 0:
            return failed
    return 0


@helper
def putback_movable_pages(m: Mem, pages: NDArray[np.int32], first: int, stop: int) -> None:
    """Put those of the blocks back that are still isolated; not all are of an LRU list."""
    for i in range(first, stop):
        pfn = int(pages[i])
        state = int(m.state[pfn])
        if state & PAGE_ISOLATED and state & PAGE_LRU:
            putback_lru_page(m, pfn)
        elif state & PAGE_ISOLATED:
            m.state[pfn] = state & ~PAGE_ISOLATED
