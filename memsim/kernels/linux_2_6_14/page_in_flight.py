"""A page while it is migrated: its lock, what is waited for, and what others do to it meanwhile.

Source: mm/vmscan.c (migrate_pages), mm/memory.c (do_swap_page), Direct Migration V1 and Linux
2.6.16 (spec history-2005 3.2, linux-mm 10).
"""

from __future__ import annotations

from memsim.kernels._jit import helper, inline
from memsim.kernels.flusher import set_page_dirty
from memsim.kernels.layout import (
    GONE,
    PAGE_ANON,
    PAGE_DIRTY,
    PAGE_MAPPED,
    PAGE_PINNED,
    PAGE_WRITEBACK,
    PAGE_YOUNG,
    TRAIT_BUFFERS,
    TRAIT_BUFFERS_IN_USE,
    TRAIT_LOCKED,
    TRAIT_RAMFS,
    TRAIT_SHMEM,
    Mem,
)
from memsim.kernels.linux_2_6_14.daemons import carry_out_due
from memsim.kernels.linux_2_6_14.migration import (
    DISTURBANCE_FIELDS,
    EVERY_PASS,
    EXIT,
    FAILED_LOCKED,
    FAILED_WRITEBACK,
    GET_PAGE,
    GOES_ON,
    LAST_TRYLOCK_PASS,
    LOCK_PAGE,
    MIGRATE_FAULT_WAIT_MODEL_NS,
    MIGRATE_FAULTS_WAITED,
    MIGRATE_LOCK_WAITED,
    MIGRATE_WAIT_MODEL_NS,
    MIGRATE_WRITEBACK_STARTED,
    MIGRATE_WRITEBACK_WAITED,
    PUT_BUFFERS,
    PUT_PAGE,
    ROW_DEFERRED,
    ROW_LAST_LOOK,
    ROW_LOCKED,
    ROW_PLACE,
    ROW_REFERENCES,
    ROW_STEPS,
    ROW_SWITCHED,
    ROW_WAIT_SUM,
    ROW_WAITING,
    ROW_WRITES,
    STEP_FIELDS,
    STEP_WAIT_ON_LOCK,
    UNLOCK_PAGE,
    WRITE_FAULT,
    WRITE_PAGE,
    Migration,
)
from memsim.kernels.linux_2_6_14.touch import map_page
from memsim.kernels.page_io import device_congested, device_due, write_page
from memsim.kernels.placement import PolicyTables
from memsim.kernels.swapfile import has_swap_space, swap_free
from memsim.kernels.system import FOREVER, S_FILE_READ_NS, S_NEXT_DUE, S_STALL, clock
from memsim.kernels.vmstat import PGFAULT

# --- time ---------------------------------------------------------------------------------------


@inline
def spend(m: Mem, ns: int) -> None:
    """Let the migrating process work."""
    m.system[S_STALL] += ns


@helper
def catch_up(m: Mem, tables: PolicyTables) -> None:
    """Let the world do what is due by now."""
    if int(m.system[S_NEXT_DUE]) <= clock(m):
        carry_out_due(m, tables, clock(m))


@helper
def wait(m: Mem, tables: PolicyTables, v: Migration, ns: int) -> None:
    """Let the migrating process sleep; the world goes on meanwhile."""
    v.counts[MIGRATE_WAIT_MODEL_NS] += ns
    spend(m, ns)
    catch_up(m, tables)


@helper
def wait_on_page_writeback(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """Wait for the end of a write that is under way, unless it is too early for that (row 4)."""
    pfn = int(v.pages[i])
    if not int(m.state[pfn]) & PAGE_WRITEBACK:
        return GOES_ON
    catch_up(m, tables)
    if int(m.state[pfn]) & PAGE_WRITEBACK and pass_ == 0:
        return FAILED_WRITEBACK
    if int(m.state[pfn]) & PAGE_WRITEBACK:
        v.waits[i] += 1
        v.counts[MIGRATE_WRITEBACK_WAITED] += 1
    while int(m.state[pfn]) & PAGE_WRITEBACK and device_due(m) != FOREVER:
        wait(m, tables, v, max(device_due(m) - clock(m), 0))
    return GOES_ON


@inline
def can_be_written(m: Mem, pfn: int) -> bool:
    """Say whether there is a place to write a page to; shared memory needs room in swap."""
    traits = int(m.traits[int(m.rmap[pfn])])
    if traits & TRAIT_RAMFS:
        return False
    return not traits & TRAIT_SHMEM or has_swap_space(m)


@helper
def begin_write(m: Mem, tables: PolicyTables, v: Migration, pfn: int) -> None:
    """Give a page to the device.

    Unlike Linux: who migrates sleeps for a place in the device's queue, and does not keep the page
    for the next pass.
    """
    while device_congested(m):
        wait(m, tables, v, max(device_due(m) - clock(m), 0))
    if int(m.state[pfn]) & PAGE_DIRTY and can_be_written(m, pfn):
        write_page(m, pfn)
        v.counts[MIGRATE_WRITEBACK_STARTED] += 1


# --- what others do meanwhile -------------------------------------------------------------------


@helper
def write_access(m: Mem, handle: int, pfn: int) -> None:
    """Make a page dirty that a process writes to."""
    if int(m.state[pfn]) & PAGE_ANON:
        m.state[pfn] |= PAGE_DIRTY
    else:
        set_page_dirty(m, handle, pfn)


@helper
def fault(m: Mem, v: Migration, i: int, at: int, write: int) -> None:
    """Let a process touch a page: it finds it, or waits until the page is unlocked.

    Until the mapping names the new page, who waits holds a reference to the old one. Source:
    do_swap_page, filemap_nopage.
    """
    pfn = int(v.row[ROW_PLACE])
    state = int(m.state[pfn])
    found = not int(v.row[ROW_LOCKED])
    found = found or not (state & PAGE_ANON or int(v.row[ROW_SWITCHED]))
    if state & PAGE_MAPPED or found:
        if state & PAGE_MAPPED:
            m.state[pfn] = state | PAGE_YOUNG
        else:
            map_page(m, pfn)
        if write:
            write_access(m, int(m.rmap[pfn]), pfn)
        return
    v.row[ROW_WAITING] += 1
    v.row[ROW_WAIT_SUM] += at
    v.row[ROW_WRITES] |= write
    v.row[ROW_REFERENCES] += 0 if int(v.row[ROW_SWITCHED]) else 1


@helper
def let_go(m: Mem, handle: int) -> None:
    """Let a process end that a page belongs to; a page that is in memory is freed when found."""
    entry = int(m.page_table[handle])
    if entry < 0 and entry != GONE:
        swap_free(m, -1 - entry)
    m.page_table[handle] = 0


@helper
def put_buffers(m: Mem, handle: int) -> None:
    """Let nobody use a page's buffers any longer."""
    traits = int(m.traits[handle])
    if traits & TRAIT_BUFFERS_IN_USE:
        m.traits[handle] = traits & ~TRAIT_BUFFERS_IN_USE | TRAIT_BUFFERS


@helper
def disturb(m: Mem, tables: PolicyTables, v: Migration, i: int, what: int) -> None:
    """Let somebody else do something to a page, at once or when it is unlocked.

    Nothing happens to a page whose process has ended, nor in memory to one that is evicted.
    """
    pfn = int(v.row[ROW_PLACE])
    handle = int(m.rmap[int(v.pages[i])])
    entry = int(m.page_table[handle])
    if entry == 0 or (entry < 0 and what != EXIT):
        return
    if what <= WRITE_FAULT:
        fault(m, v, i, clock(m), 1 if what == WRITE_FAULT else 0)
    elif what == GET_PAGE:
        m.state[pfn] |= PAGE_PINNED
    elif what == PUT_PAGE:
        m.state[pfn] &= ~PAGE_PINNED
    elif what == UNLOCK_PAGE:
        m.traits[handle] = int(m.traits[handle]) & ~TRAIT_LOCKED
    elif what == PUT_BUFFERS:
        put_buffers(m, handle)
    elif int(v.row[ROW_LOCKED]):
        v.row[ROW_DEFERRED] |= 1 << what
    elif what == LOCK_PAGE:
        m.traits[handle] |= TRAIT_LOCKED
    elif what == EXIT:
        let_go(m, handle)
    elif not int(m.state[pfn]) & PAGE_WRITEBACK:
        begin_write(m, tables, v, pfn)


@helper
def first_touch(v: Migration, i: int, time: int) -> int:
    """Return which of a page's touches is the first that does not come before an instant."""
    low, high = int(v.touch_first[i]), int(v.touch_first[i + 1])
    while low < high:
        middle = (low + high) // 2
        if int(v.touch_time[middle]) < time:
            low = middle + 1
        else:
            high = middle
    return low


@helper
def look_at_touches(m: Mem, v: Migration, i: int) -> None:
    """Let the processes touch a page that do so by now."""
    now = clock(m)
    handle = int(m.rmap[int(v.pages[i])])
    k, stop = first_touch(v, i, int(v.row[ROW_LAST_LOOK])), int(v.touch_first[i + 1])
    while k < stop and int(v.touch_time[k]) < now:
        if int(m.page_table[handle]) > 0:
            fault(m, v, i, int(v.touch_time[k]), 0)
        k += 1
    v.row[ROW_LAST_LOOK] = now


@helper
def between_steps(
    m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, which: int
) -> None:
    """Let happen what is to happen to a page before a step, and keep when the step began."""
    if v.touched:
        look_at_touches(m, v, i)
    for k in range(v.nr_disturbances):
        at = k * DISTURBANCE_FIELDS
        when = int(v.disturbances[at + 1])
        this = int(v.disturbances[at]) == i and int(v.disturbances[at + 2]) == which
        if this and when in (EVERY_PASS, pass_):
            disturb(m, tables, v, i, int(v.disturbances[at + 3]))
    line = int(v.row[ROW_STEPS])
    if i == v.watched and line < v.nr_steps:
        v.steps[STEP_FIELDS * line] = pass_
        v.steps[STEP_FIELDS * line + 1] = which
        v.steps[STEP_FIELDS * line + 2] = clock(m)
        v.row[ROW_STEPS] = line + 1


@inline
def step(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int, which: int) -> None:
    """Begin a step."""
    if v.observed:
        between_steps(m, tables, v, i, pass_, which)


# --- the page lock ------------------------------------------------------------------------------


@inline
def hold_lock(v: Migration, pfn: int) -> None:
    """Note that a page is locked now."""
    v.row[ROW_LOCKED] = 1
    v.row[ROW_SWITCHED] = 0
    v.row[ROW_PLACE] = pfn
    v.row[ROW_REFERENCES] = 0


@helper
def lock_page(m: Mem, tables: PolicyTables, v: Migration, i: int, pass_: int) -> int:
    """Lock a page; from the fourth pass on wait for somebody else's lock (rows 3, 3b).

    Unlike Linux: nobody holds a page lock for longer than somebody else waits for it: as long as a
    read from the device takes.
    """
    pfn = int(v.pages[i])
    handle = int(m.rmap[pfn])
    if int(m.traits[handle]) & TRAIT_LOCKED:
        if pass_ <= LAST_TRYLOCK_PASS:
            return FAILED_LOCKED
        step(m, tables, v, i, pass_, STEP_WAIT_ON_LOCK)
        v.waits[i] += 1
        v.counts[MIGRATE_LOCK_WAITED] += 1
        wait(m, tables, v, int(m.system[S_FILE_READ_NS]))
        m.traits[handle] = int(m.traits[handle]) & ~TRAIT_LOCKED
        if int(m.page_table[handle]) == 0:
            # The process has ended meanwhile: the next pass finds the page free.
            return FAILED_LOCKED
    hold_lock(v, pfn)
    return GOES_ON


@helper
def wake_waiting(m: Mem, v: Migration) -> None:
    """Let the processes that wait for a page find it, wherever it is now."""
    waiting, pfn = int(v.row[ROW_WAITING]), int(v.row[ROW_PLACE])
    v.counts[MIGRATE_FAULTS_WAITED] += waiting
    waited = waiting * clock(m) - int(v.row[ROW_WAIT_SUM])
    v.counts[MIGRATE_FAULT_WAIT_MODEL_NS] += waited
    if not int(m.state[pfn]) & PAGE_MAPPED:
        map_page(m, pfn)
        waiting -= 1
    m.events[PGFAULT] += waiting
    m.state[pfn] |= PAGE_YOUNG
    if int(v.row[ROW_WRITES]):
        write_access(m, int(m.rmap[pfn]), pfn)
    v.row[ROW_WAITING] = v.row[ROW_WAIT_SUM] = v.row[ROW_WRITES] = 0


@helper
def carry_out_deferred(m: Mem, tables: PolicyTables, v: Migration, i: int) -> None:
    """Let those act who waited for the page lock for something else than a fault."""
    deferred = int(v.row[ROW_DEFERRED])
    v.row[ROW_DEFERRED] = 0
    for what in (LOCK_PAGE, WRITE_PAGE, EXIT):
        if deferred >> what & 1:
            disturb(m, tables, v, i, what)


@inline
def unlock_page(m: Mem, tables: PolicyTables, v: Migration, i: int) -> None:
    """Unlock the page at hand, wherever it is now; who waited for that goes on."""
    v.row[ROW_LOCKED] = 0
    if v.observed:
        if int(v.row[ROW_WAITING]):
            wake_waiting(m, v)
        if int(v.row[ROW_DEFERRED]):
            carry_out_deferred(m, tables, v, i)
