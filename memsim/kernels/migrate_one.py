"""One attempt to move a page: what has to be waited for, what forbids it, and the move.

Source: unmap_and_move, move_to_new_folio, fallback_migrate_folio, mm/migrate.c, Linux 6.1.192
(spec 8.4).

Unlike Linux: nobody holds a page lock for longer than somebody else waits for it: as long as a
read from the device takes.
"""

from __future__ import annotations

from errno import EAGAIN, EBUSY, ENOMEM

from memsim.kernels._jit import helper, inline
from memsim.kernels.compact_control import MIGRATE_ASYNC, MIGRATE_SYNC
from memsim.kernels.daemons import carry_out_due
from memsim.kernels.layout import (
    PAGE_DIRTY,
    PAGE_ISOLATED,
    PAGE_PINNED,
    PAGE_WRITEBACK,
    TRAIT_LOCKED,
    Mem,
)
from memsim.kernels.lru import lru_pages, page_holder
from memsim.kernels.migrate import move_page, put_target
from memsim.kernels.migrate_obstacle import NEEDS_WRITE, obstacle, traits_of
from memsim.kernels.migrate_target import TargetRequest, alloc_migration_target
from memsim.kernels.page_io import device_congested, write_page, writeback_entry, writes_end
from memsim.kernels.placement import PolicyTables
from memsim.kernels.system import (
    S_FILE_READ_NS,
    S_MIGRATE_NS,
    S_NEXT_DUE,
    S_STALL,
    S_WRITEBACK_LENGTH,
    book_stall,
    clock,
)
from memsim.kernels.trace_log import LOG_MIGRATE_PAGE, log_event

FORCE_FROM = 3
"""The first pass (from 0) that waits for locks and writes."""


@inline
def catch_up(m: Mem, tables: PolicyTables) -> None:
    """Let the daemons do what is due by now on the clock of whoever migrates."""
    if int(m.system[S_NEXT_DUE]) <= clock(m):
        carry_out_due(m, tables, clock(m))


@helper
def wait_until(m: Mem, tables: PolicyTables, time: int) -> None:
    """Let whoever migrates wait until an instant; the world goes on meanwhile."""
    if time > clock(m):
        book_stall(m, time - clock(m))
    catch_up(m, tables)


@helper
def write_ends(m: Mem, pfn: int) -> int:
    """Return the instant at which the writing of a page ends."""
    for position in range(int(m.system[S_WRITEBACK_LENGTH])):
        at = writeback_entry(m, position)
        if int(m.writeback[at]) == pfn:
            return int(m.writeback[at + 1])
    return clock(m)


@helper
def lock_page(m: Mem, tables: PolicyTables, pfn: int, mode: int, force: int) -> bool:
    """Lock a page, waiting for the lock if that is allowed; say whether it is locked."""
    traits = traits_of(m, pfn)
    if traits & TRAIT_LOCKED:
        if force == 0 or mode == MIGRATE_ASYNC:
            return False
        wait_until(m, tables, clock(m) + int(m.system[S_FILE_READ_NS]))
        m.traits[page_holder(m, pfn)] = traits & ~TRAIT_LOCKED
    return True


@helper
def wait_on_page_writeback(m: Mem, tables: PolicyTables, pfn: int, mode: int, force: int) -> int:
    """Wait until a page is written, if that is allowed; return 0 if it is, or a negative errno."""
    if not int(m.state[pfn]) & PAGE_WRITEBACK:
        return 0
    if mode != MIGRATE_SYNC:
        return -EBUSY
    if force == 0:
        return -EAGAIN
    wait_until(m, tables, write_ends(m, pfn))
    return 0


@helper
def write_before_moving(m: Mem, tables: PolicyTables, pfn: int) -> int:
    """Begin to write a dirty page, which cannot be moved before it is clean.

    Others may have filled the device again by the time that a write has ended.
    """
    while device_congested(m):
        wait_until(m, tables, writes_end(m, 1))
    if int(m.state[pfn]) & PAGE_DIRTY:
        write_page(m, pfn)
    return -EAGAIN


@inline
def may_have_to_wait(m: Mem, pfn: int) -> bool:
    """Say whether a page may have to wait, or to stay; most just go."""
    state = int(m.state[pfn])
    return state & (PAGE_PINNED | PAGE_WRITEBACK) != 0 or traits_of(m, pfn) != 0


@helper
def clear_the_way(m: Mem, tables: PolicyTables, pfn: int, mode: int, force: int) -> int:
    """Wait for what a page that is to be moved has to wait for; 0, or a negative errno."""
    if not lock_page(m, tables, pfn, mode, force):
        return -EAGAIN
    code = wait_on_page_writeback(m, tables, pfn, mode, force)
    if code == 0:
        code = obstacle(m, pfn, mode)
    return write_before_moving(m, tables, pfn) if code == NEEDS_WRITE else code


@inline
def try_to_move(
    m: Mem, tables: PolicyTables, source: int, target: int, cpu: int, mode: int, force: int
) -> int:
    """Move a block to its target, or return a negative errno (spec 8.4 d-j)."""
    code = 0
    if may_have_to_wait(m, source):
        code = clear_the_way(m, tables, source, mode, force)
    if code == 0:
        pages = lru_pages(int(m.state[source]))
        move_page(m, cpu, source, target)
        book_stall(m, pages * int(m.system[S_MIGRATE_NS]))
    return code


@helper
def unmap_and_move(
    m: Mem,
    tables: PolicyTables,
    want: TargetRequest,
    source: int,
    cpu: int,
    mode: int,
    reason: int,
    attempt: int,
) -> int:
    """Try for the ``attempt``-th time (from 0) to move an isolated block to one allocated for it.

    Returns 0 if it has moved, or was freed meanwhile, or a negative errno (spec 8.4, 8.5).
    """
    if not int(m.state[source]) & PAGE_ISOLATED:
        return 0
    catch_up(m, tables)
    target = alloc_migration_target(m, tables, cpu, want, source, reason)
    code = -ENOMEM
    if target >= 0:
        force = 1 if attempt >= FORCE_FROM else 0
        code = try_to_move(m, tables, source, target, cpu, mode, force)
        if code != 0:
            put_target(m, cpu, target)
    spent = int(m.system[S_STALL])
    log_event(m, LOG_MIGRATE_PAGE, source, target, attempt, code, spent // 1000, spent % 1000)
    return code
