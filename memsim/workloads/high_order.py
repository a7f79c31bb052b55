"""Probes: can blocks of these orders be had now?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import numpy as np
from pydantic import AfterValidator, Field, ValidationInfo

from memsim.mm import NR_ORDERS, OP_FREE, Gfp, Use, gfp_from_text
from memsim.scenario.event import GfpText
from memsim.schema import AllocBatch, Request, Stream
from memsim.units import Duration, IntSet, NodeSet
from memsim.workloads import Context, WorkloadModel
from memsim.workloads._places import Places, places
from memsim.workloads._timeline import SECOND, check_handles, events, in_order, spaced, windows

MAX_ATTEMPTS = 1_000_000
"""Each attempt is a row of high_order.csv."""


def _orders(orders: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
    largest = (info.context or {}).get("max_page_order", NR_ORDERS - 1)
    if not orders or max(orders) > largest:
        raise ValueError(f"expected orders from 0 to {largest}, found {list(orders)}")
    return orders


def _positive(duration: int) -> int:
    if duration <= 0:
        raise ValueError("expected a duration above 0")
    return duration


class Workload(WorkloadModel):
    """Try again and again to get blocks of given orders, and report each attempt.

    Stands for drivers, huge pages and big slabs, and for the high-order stress test of 2005. Each
    attempt is a row of high_order.csv.
    """

    orders: Annotated[IntSet, AfterValidator(_orders)] = Field(
        (3, 9), description="Orders that are tried, 0 to 10."
    )
    gfp: GfpText = Field("GFP_KERNEL|__GFP_NORETRY", description="Flags of the requests.")
    attempts: int = Field(
        10,
        ge=1,
        le=1_000_000,
        description="Attempts of each order in a period, at random instants of its equal parts.",
    )
    every: Annotated[Duration, AfterValidator(_positive)] = Field(SECOND, description="The period.")
    hold: bool = Field(False, description="Keep what was got to the end; else it is freed at once.")
    nodes: NodeSet | None = Field(
        None, description="Nodes whose CPUs ask; all nodes with CPUs unless given."
    )

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
        rounds = self.attempts * ctx.duration_ns // self.every
        asked = check_handles(ctx.name, rounds * len(self.orders), MAX_ATTEMPTS)
        where = places(ctx, self.nodes)
        gfp = gfp_from_text(self.gfp)
        movable = bool(gfp & Gfp.MOVABLE)
        use = Use.ANON if movable else Use.KERNEL
        requests = tuple(Request(gfp, use, preferred=n) for n in where.nodes)
        batches = in_order(self._parts(ctx, rounds, where), ctx.duration_ns)
        return Stream(requests, asked if self.hold else min(asked, 1), batches, observe=True)

    def _parts(self, ctx: Context, rounds: int, where: Places) -> Iterator[tuple[int, AllocBatch]]:
        span = rounds * self.every // self.attempts
        repeats = 1 if self.hold else 2
        per_round = len(self.orders) * repeats
        for first, stop in windows(rounds, per_round):
            time = spaced(np.arange(first, stop), rounds, 0, span, ctx.rng)
            place = np.repeat(where.draw(ctx.rng, stop - first), per_round)
            op = np.array([o | flag for o in self.orders for flag in (0, OP_FREE)[:repeats]])
            handle = np.arange(first * per_round, stop * per_round) if self.hold else 0
            yield (
                stop * span // rounds,
                events(
                    np.repeat(time, per_round),
                    np.tile(op, stop - first),
                    where.node[place],
                    where.cpu[place],
                    handle,
                ),
            )
