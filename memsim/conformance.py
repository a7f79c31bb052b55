"""Hold a policy against what every policy must keep, on each kernel that it is made for.

A small machine serves a seeded mix of requests of all uses, mobilities and orders, until it is full
and until all is freed again. Of all policies ``none`` alone has a part: it is the measure of speed.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from memsim import plugins
from memsim.errors import InputError
from memsim.kernels.placement import OPT_IDEAL, PolicyTables
from memsim.memory import Memory
from memsim.memory.setup import MachineSetup, ZoneSetup
from memsim.mm import (
    MIGRATE_PCPTYPES,
    OP_COLD,
    OP_FREE,
    Gfp,
    Status,
    Use,
    ZoneType,
    ZoneType2005,
    gfp_from_text,
)
from memsim.policies import KERNELS, Kernel
from memsim.policies._validity import tables_of
from memsim.profiles import PROFILES, Mechanism, Profile
from memsim.schema import Outcome, Request

EVENTS = 3000
BATCH_SIZES = (1, 7, 1000)
STEP = 250
"""Events between two looks at everything."""
SLOWEST = 10.0
"""Times of ``none`` that a policy may take."""
TIMED_S = 0.06
CHECKS = (
    "tables", "conservation", "allocation", "invariants", "determinism", "batches", "return",
    "speed",
)  # fmt: skip
GFP = tuple(
    gfp_from_text(text)
    for text in (
        "GFP_KERNEL",
        "GFP_KERNEL|__GFP_RECLAIMABLE",
        "GFP_HIGHUSER_MOVABLE",
        "GFP_HIGHUSER|__GFP_EASYRCLM",
        "GFP_HIGHUSER|__GFP_COLD",
        "GFP_ATOMIC",
        "GFP_NOWAIT|__GFP_MOVABLE",
    )
)
ORDERS = (0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 10)


class Verdict(NamedTuple):
    """What one check of one policy on one profile came to."""

    policy: str
    profile: str
    check: str
    ok: bool | None
    """None: it could not be made, for the tables are no good."""
    text: str
    """What is wrong; of speed, what was measured."""


class Events(NamedTuple):
    """Requests and frees in order (arrays of length n, see AllocBatch)."""

    op: NDArray[np.uint8]
    request: NDArray[np.uint16]
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]

    def part(self, start: int, stop: int) -> Events:
        """Return the events from ``start`` to ``stop``."""
        return Events._make(np.ascontiguousarray(column[start:stop]) for column in self)

    def parts(self, start: int, stop: int, size: int) -> Iterator[tuple[int, Events]]:
        """Yield the events from ``start`` to ``stop`` by ``size``, and the number of the first."""
        for first in range(start, min(stop, len(self.op)), size):
            yield first, self.part(first, min(first + size, stop))


def verify(names: Sequence[str]) -> Iterator[Verdict]:
    """Check policies without options, each on all of its profiles.

    Raises plugins.PluginError for a name that no policy has.
    """
    for name in names:
        for profile in plugins.find("policies", name).Policy.PROFILES:
            yield from verify_on(name, profile)


def verify_on(name: str, profile: str, options: Mapping[str, Any] | None = None) -> list[Verdict]:
    """Check a policy on one profile."""
    kernel = KERNELS[PROFILES[profile].mechanism]
    fault, tables = "", None
    try:
        tables = tables_of(name, plugins.build("policies", name, dict(options or {})), kernel)
    except ValidationError as error:
        fault = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
    except InputError as error:
        fault = str(error.problems[0])
    if tables is None:
        rest = [Verdict(name, profile, check, None, "") for check in CHECKS[1:]]
        return [Verdict(name, profile, "tables", False, fault), *rest]
    case = Case(PROFILES[profile], kernel, tables)
    found = {"tables": "", **_looked_at(case), **_repeated(case), "return": _returned(case)}
    verdicts = [Verdict(name, profile, check, not text, text) for check, text in found.items()]
    return [*verdicts, _speed(name, case)]


# --- the machine and what it is asked ---------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A policy's tables on a machine of one profile."""

    profile: Profile
    kernel: Kernel
    tables: PolicyTables

    @cached_property
    def events(self) -> Events:
        """What the machine is asked; all is freed at the end."""
        return mixed_events(EVENTS, self.kernel)

    def memory(self) -> Memory:
        """Return the machine as it is before the first event."""
        setup = small_machine(self.profile, self.kernel)
        memory = Memory(setup, self.tables)
        for z, zone in enumerate(setup.zones):
            memory.free_boot_range(z, zone.start_pfn, zone.end_pfn)
        memory.drain_all()
        memory.add_requests(REQUESTS)
        memory.add_handles(EVENTS)
        return memory


REQUESTS = tuple(Request(gfp, use, lru=bool(gfp & Gfp.HIGHMEM)) for use in Use for gfp in GFP)


ZoneKind = tuple[int, ZoneType | ZoneType2005]
"""Node and type."""
ZONES: Mapping[Mechanism, tuple[ZoneKind, ...]] = {
    "linux-6.1": ((0, ZoneType.DMA32), (0, ZoneType.NORMAL), (1, ZoneType.MOVABLE)),
    "linux-2.6.14": ((0, ZoneType2005.DMA), (0, ZoneType2005.NORMAL), (0, ZoneType2005.HIGHMEM)),
}
ZONELISTS: Mapping[Mechanism, tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]] = {
    "linux-6.1": (((1, 0, 2), (1, 0)), ((2, 1, 0), (2,))),
    "linux-2.6.14": (((2, 1, 0), (2, 1, 0)),),
}


def small_machine(profile: Profile, kernel: Kernel) -> MachineSetup:
    """Return a machine of three zones and two CPUs, one on each node if it has two."""
    kinds = ZONES[kernel.mechanism]
    zones = tuple(_zone(i, kind, profile, kernel) for i, kind in enumerate(kinds))
    return MachineSetup(
        zones,
        ZONELISTS[kernel.mechanism],
        (0, zones[-1].node),
        mechanism=kernel.mechanism,
        max_page_order=kernel.max_page_order,
        pageblock_order=kernel.pageblock_order,
    )


def _zone(i: int, kind: ZoneKind, profile: Profile, kernel: Kernel) -> ZoneSetup:
    size, batch = 4 << kernel.max_page_order, 7
    return ZoneSetup(
        *kind,
        size * (1 + i),
        size * (2 + i),
        size,
        size,
        (16, 20, 24, 28),
        tuple(32 * (kind[1] < higher) for higher in range(len(ZoneType))),
        pcp_high=6 * batch,
        pcp_batch=batch,
        stat_threshold=8 * (kernel.mechanism == "linux-6.1"),
        nofragment=True,
        pcp_low=profile.pcp_hot_low * batch,
        pcp_cold_high=2 * batch,
        pcp_cold_batch=batch // 2 if profile.pcp_cold_half else batch,
    )


def mixed_events(count: int, kernel: Kernel, seed: int = 1) -> Events:
    """Plan requests and frees that fill the machine twice, and empty it each time."""
    rng = np.random.default_rng(seed)
    order, request = rng.choice(ORDERS, count), rng.integers(0, len(REQUESTS), count)
    cpu, dice, pick = rng.integers(0, 2, count), rng.random(count), rng.random(count)
    cold = OP_COLD if kernel.mechanism == "linux-2.6.14" else 0
    rows: list[tuple[int, int, int, int]] = []
    held: list[tuple[int, int]] = []
    phases = (0.85, 0.5, 0.15, 0.85, 0.5, 0.5)
    for i in range(count):
        if dice[i] < phases[len(phases) * i // count] or not held:
            rows.append((int(order[i]), int(request[i]), int(cpu[i]), i))
            held.append((int(order[i]), i))
        else:
            size, handle = held.pop(int(pick[i] * len(held)))
            rows.append((size | OP_FREE | cold * (i % 5 == 0), 0, int(cpu[i]), handle))
    rows += [(size | OP_FREE, 0, handle % 2, handle) for size, handle in held]
    op, asked, on, handles = (np.array(column) for column in zip(*rows, strict=True))
    return Events(
        op.astype(np.uint8), asked.astype(np.uint16), on.astype(np.uint16), handles.astype(np.int32)
    )


# --- the checks -------------------------------------------------------------------------------


def _looked_at(case: Case) -> dict[str, str]:
    """Look at everything every few events: at pages handed out, at all accounts, at all lists."""
    memory, events = case.memory(), case.events
    faults = dict.fromkeys(("conservation", "allocation", "invariants"), "")
    owners = _Owners(memory)
    pages = _free_pages(memory)
    moves = bool(case.tables.options[OPT_IDEAL])
    for start in range(0, len(events.op), STEP):
        for first, part in events.parts(start, start + STEP, 1 if moves else STEP):
            outcome = memory.run(*part)
            if moves:
                owners.look_again(int(part.handle[0]))
            faults["allocation"] = faults["allocation"] or owners.follow(first, part, outcome)
        found = _free_pages(memory) + owners.held
        if found != pages and not faults["conservation"]:
            faults["conservation"] = f"{pages} pages became {found} by event {start + len(part.op)}"
        try:
            memory.check()
        except AssertionError as error:
            faults["invariants"] = faults["invariants"] or f"by event {start + STEP}: {error}"
    return faults


def _free_pages(memory: Memory) -> int:
    """Count the pages on all free lists and per-CPU lists."""
    zones = range(len(memory.setup.zones))
    return sum(map(memory.nr_free_pages, zones)) + int(memory.census().pcp_pages.sum())


class _Owners:
    """Who holds each page, by what the machine says of each event."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.setup = memory.setup
        self.owner = np.full(memory.nr_pages, -1, np.int64)
        self.at: dict[int, tuple[int, int]] = {}
        """First page and order of what each handle holds."""
        self.held = 0

    def look_again(self, but: int) -> None:
        """See where pages have moved to while the event of a handle, ``but``, was carried out."""
        self.owner[:] = -1
        for handle, (start, order) in self.at.items():
            if handle != but:
                start = int(self.memory.page_table[handle]) - 1
                self.at[handle] = start, order
            self.owner[start : start + (1 << order)] = handle

    def follow(self, first: int, events: Events, outcome: Outcome) -> str:
        """Follow events, the first of which is number ``first``; say what is wrong with one."""
        for i in range(len(events.op)):
            op, handle = int(events.op[i]), int(events.handle[i])
            pfn, status = int(outcome.pfn[i]), int(outcome.status[i])
            fault = self._free(handle, pfn) if op & OP_FREE else ""
            if not op & OP_FREE and status == Status.OK:
                fault = self._allocate(handle, pfn, op)
            if fault:
                return f"event {first + i}: {fault}"
        return ""

    def _allocate(self, handle: int, pfn: int, order: int) -> str:
        if not any(
            z.start_pfn <= pfn and pfn + (1 << order) <= z.end_pfn for z in self.setup.zones
        ):
            return f"the block at {pfn:#x} of order {order} is in no zone"
        if pfn & (1 << order) - 1:
            return f"the block at {pfn:#x} is not aligned to its order {order}"
        block = self.owner[pfn : pfn + (1 << order)]
        if (block >= 0).any():
            return f"page {pfn + int(np.argmax(block >= 0)):#x} is handed out twice"
        block[:] = handle
        self.at[handle] = pfn, order
        self.held += 1 << order
        return ""

    def _free(self, handle: int, pfn: int) -> str:
        if handle not in self.at:
            return "" if pfn == -1 else f"page {pfn:#x} is freed but was never handed out"
        start, order = self.at.pop(handle)
        self.owner[start : start + (1 << order)] = -1
        self.held -= 1 << order
        return "" if pfn == start else f"page {pfn:#x} is freed instead of {start:#x}"


def _repeated(case: Case) -> dict[str, str]:
    """Do the same again, and in batches of other sizes: all must end alike."""
    first = _digest(case, len(case.events.op))
    faults = {"determinism": "", "batches": ""}
    if _digest(case, len(case.events.op)) != first:
        faults["determinism"] = "the same events end in another state when they are repeated"
    for size in BATCH_SIZES:
        if not faults["batches"] and _digest(case, size) != first:
            faults["batches"] = f"batches of {size} end in another state than a single one"
    return faults


def _digest(case: Case, size: int) -> str:
    memory, events = case.memory(), case.events
    digest = hashlib.sha256()
    outcomes = [
        memory.run(*events.part(start, start + size)) for start in range(0, len(events.op), size)
    ]
    for column in zip(*outcomes, strict=True):
        digest.update(np.concatenate(column).tobytes())
    for array in (*memory.mem, memory.page_table):
        digest.update(np.asarray(array).tobytes())
    return digest.hexdigest()


def _returned(case: Case) -> str:
    """When all is freed and drained, every page is free, and merged as it was."""
    memory = case.memory()
    before = memory.census()
    memory.run(*case.events)
    memory.drain_all()
    after = memory.census()
    orders = np.arange(before.free_blocks.shape[1])
    for z in range(len(memory.setup.zones)):
        was, now = (c.free_blocks[z].sum(axis=1) for c in (before, after))
        pages = [int((blocks << orders).sum()) for blocks in (was, now)]
        if pages[0] != pages[1]:
            return f"zone {z} has {pages[1]} free pages of {pages[0]} when all is freed"
        # 6.1 keeps what is reserved for atomic requests apart from its buddies.
        apart = (
            case.kernel.mechanism == "linux-6.1" and after.pageblocks[z, MIGRATE_PCPTYPES:].any()
        )
        if not apart and not np.array_equal(was, now):
            return f"zone {z} has not merged when all is freed: blocks by order {now.tolist()}"
    return ""


def _speed(name: str, case: Case) -> Verdict:
    """Compare the time of an event with that under ``none``; only a multiple of it is a fault."""
    none = plugins.build("policies", "none", {}).tables(case.kernel)
    base, mine = _ns_per_event([Case(case.profile, case.kernel, none), case])
    ratio = mine / base
    text = f"{mine:.0f} ns, {ratio:.2f}x"
    return Verdict(name, case.profile.name, "speed", ratio <= SLOWEST, text)


def _ns_per_event(cases: Sequence[Case]) -> list[float]:
    """Return the shortest time of each case; they take turns, so that all find like conditions."""
    memories = [case.memory() for case in cases]
    events = cases[0].events
    best = [float("inf") for _ in cases]
    began = time.perf_counter()
    while time.perf_counter() - began < TIMED_S or float("inf") in best:
        for i, memory in enumerate(memories):
            start = time.perf_counter_ns()
            memory.run(*events)
            best[i] = min(best[i], (time.perf_counter_ns() - start) / len(events.op))
    return best
