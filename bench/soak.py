"""Carry out very many events under pressure and see that nothing drifts (``make soak``)."""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim import plugins
from memsim.conformance import small_machine
from memsim.memory import Memory
from memsim.memory.killing import kill
from memsim.memory.setup import Pressure
from memsim.mm import OP_FREE, OP_TOUCH, OP_WRITE, Gfp, Use, gfp_from_text
from memsim.policies import KERNELS
from memsim.profiles import PROFILES
from memsim.schema import Request

BATCH = 100_000
PERIOD_NS = 10_000
"""Between two events."""
USER, KERNEL = gfp_from_text("GFP_HIGHUSER_MOVABLE"), gfp_from_text("GFP_KERNEL")
REQUESTS = (
    *[Request(USER, Use.ANON, lru=True)] * 4,
    *[Request(USER, Use.PAGE_CACHE, lru=True)] * 2,
    Request(USER | Gfp.WRITE, Use.PAGE_CACHE, lru=True),
    Request(KERNEL | Gfp.RECLAIMABLE, Use.INODE),
)
"""What a handle asks for, by its number; every 64th one asks for kernel memory."""
KERNEL_REQUEST = len(REQUESTS)
LOAD = 1.3
"""Handles for each page of the machine."""


class Look(NamedTuple):
    """What was seen after so many events."""

    events: int
    events_per_s: float
    peak_kib: int
    """Memory of the process."""
    kills: int
    swapped_out: int
    """Pages, from the start on."""


def soak(
    events: int, every: int, *, profile: str = "linux-6.1", policy: str = "mobility"
) -> Iterator[Look]:
    """Carry out events in batches; check all invariants and look ``every`` so many events.

    Raises AssertionError where an invariant does not hold or pages are lost.
    """
    memory, handles = _machine(profile, policy)
    rng = np.random.default_rng(1)
    kinds = np.arange(handles) % len(REQUESTS)
    kinds[::64] = KERNEL_REQUEST
    done, kills, spent = 0, 0, 0.0
    while done < events:
        # Squares: few pages are used often, most are not.
        handle = (handles * rng.random(BATCH) ** 2).astype(np.int32)
        free, write = rng.random(BATCH) < 0.1, rng.random(BATCH) < 0.3
        op = np.where(free, OP_FREE, OP_TOUCH | np.where(write, OP_WRITE, 0)).astype(np.uint8)
        at = (done + np.arange(BATCH)) * PERIOD_NS
        began = time.perf_counter()
        kills += _carry_out(memory, op, kinds[handle].astype(np.uint16), handle, at)
        spent += time.perf_counter() - began
        done += BATCH
        if done % every < BATCH:
            memory.check()
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            yield Look(done, done / spent, peak, kills, memory.vmstat()["pswpout"])


def _machine(profile: str, policy: str) -> tuple[Memory, int]:
    kernel = KERNELS[PROFILES[profile].mechanism]
    setup = small_machine(PROFILES[profile], kernel)
    pages = sum(zone.managed for zone in setup.zones)
    setup = replace(setup, pressure=Pressure(swap_slots=pages, swappiness=100))
    memory = Memory(setup, plugins.build("policies", policy, {}).tables(kernel))
    for z, zone in enumerate(setup.zones):
        memory.free_boot_range(z, zone.start_pfn, zone.end_pfn)
    memory.drain_all()
    memory.add_requests([*REQUESTS, Request(KERNEL, Use.KERNEL)])
    handles = int(LOAD * pages)
    memory.add_handles(handles)
    memory.check()
    return memory, handles


def _carry_out(
    memory: Memory,
    op: NDArray[Any],
    request: NDArray[Any],
    handle: NDArray[Any],
    at: NDArray[Any],
) -> int:
    """Carry out a batch; whoever needs an OOM kill has a quarter of all handles killed."""
    done, kills = 0, 0
    cpu = np.zeros(len(op), np.uint16)
    quarter = len(memory.page_table) // 4
    while done < len(op):
        columns = (column[done:] for column in (op, request, cpu, handle, at))
        done += len(memory.run(*columns).status)
        if done < len(op):
            kill(memory, kills % 4 * quarter, (kills % 4 + 1) * quarter, 0)
            kills += 1
    return kills


def main() -> None:
    """Print a line for each look."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=10**9)
    parser.add_argument("--every", type=int, default=10**7)
    parser.add_argument("--profile", default="linux-6.1")
    parser.add_argument("--policy", default="mobility")
    given = parser.parse_args()
    for look in soak(given.events, given.every, profile=given.profile, policy=given.policy):
        print(
            f"{look.events:>13,} events  {look.events_per_s:>12,.0f} events/s  "
            f"peak {look.peak_kib:,} KiB  {look.kills} kills  {look.swapped_out:,} swapped out",
            flush=True,
        )


if __name__ == "__main__":
    main()
