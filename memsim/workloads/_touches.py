"""How processes come back to the memory that they have: at a rate, to some pages more often."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from memsim.mm import OP_TOUCH, OP_WRITE, PAGEBLOCK_ORDER
from memsim.schema import AllocBatch
from memsim.units import Duration, NodeSet, Rate, Share
from memsim.workloads._mempolicy import Fault
from memsim.workloads._places import Places
from memsim.workloads._processes import Processes, ranges
from memsim.workloads._timeline import SECOND, events

Longs = NDArray[np.int64]


class Touch(BaseModel):
    """Accesses of each process from when it has grown until it exits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rate: Rate = Field(100_000, description="Accesses per second of each process.")
    zipf: float = Field(
        0.0,
        ge=0,
        le=4,
        description="Exponent: the k-th hottest page is accessed 1/k^zipf as often as the hottest.",
    )
    hot: Share = Field(1.0, description="Share of the pages that are accessed at all.")
    write: Share = Field(0.3, description="Share of the accesses that write.")
    move_at: Duration | None = Field(
        None, description="From when on accesses come from the CPUs of ``move_to``."
    )
    move_to: NodeSet = Field((), description="Nodes that the processes move to.")

    @model_validator(mode="after")
    def _where_and_when(self) -> Touch:
        if (self.move_at is None) == bool(self.move_to):
            raise ValueError('"move_at" and "move_to" go together')
        return self


class Touches:
    """The accesses of processes that live alike."""

    def __init__(
        self, touch: Touch, processes: Processes, later: Places, rng: np.random.Generator
    ) -> None:
        self.touch, self.of, self.later, self.rng = touch, processes, later, rng
        hot = max(round(touch.hot * processes.pages), 1)
        self.page = rng.permutation(max(processes.pages, 1))[:hot]
        # How likely one of the k hottest pages is accessed, up to a factor.
        self.reach = np.cumsum(np.arange(1, hot + 1, dtype=np.float64) ** -touch.zipf)
        self.start = processes.born + processes.grow_ns
        self.ns = SECOND / max(touch.rate, 1)

    def edges(self) -> tuple[Longs, NDArray[np.float64]]:
        """Return instants, and by how much the rate of accesses (per ns) changes there."""
        grown = np.minimum(self.start, self.of.dies)
        rate = np.full(len(grown), 1 / self.ns)
        return np.concatenate([grown, self.of.dies]), np.concatenate([rate, -rate])

    def between(self, begin: int, until: int) -> AllocBatch:
        """Return the accesses of a window, in no order of time; some lie a little later."""
        rng, of = self.rng, self.of
        who, number = ranges(self._before(begin), self._before(until))
        n = len(who)
        time = self.start[who] + ((number + rng.random(n)) * self.ns).astype(np.int64)
        page = self.page[np.searchsorted(self.reach, rng.random(n) * self.reach[-1], "right")]
        huge = of.huge[who, page >> PAGEBLOCK_ORDER]
        page = np.where(huge, page & -(1 << PAGEBLOCK_ORDER), page)
        order = np.where(huge, PAGEBLOCK_ORDER, 0)
        cpu, node = self._where(time, of.place[who, page >> PAGEBLOCK_ORDER])
        small = of.targets.row(Fault.PAGE, page, node)
        request = np.where(huge, of.targets.row(Fault.HUGE, page >> PAGEBLOCK_ORDER, node), small)
        write = np.where(rng.random(n) < self.touch.write, OP_WRITE, 0)
        return events(time, order | OP_TOUCH | write, request, cpu, of.base[who] + page)

    def _before(self, instant: int) -> Longs:
        """Count the accesses of each process whose time slot begins before an instant."""
        lived = np.minimum(instant, self.of.dies) - self.start
        before: Longs = np.ceil(lived / self.ns).astype(np.int64).clip(min=0)
        return before

    def _where(self, time: Longs, place: Longs) -> tuple[Longs, Longs]:
        """Return the CPU of each access and the index of its node among all that are used."""
        where, later = self.of.where, self.later
        cpu, node = where.cpu[place].astype(np.int64), where.node[place]
        if self.touch.move_at is None:
            return cpu, node
        used = list(dict.fromkeys((*where.nodes, *later.nodes)))
        index = np.array([used.index(n) for n in later.nodes])
        then = place % len(later.cpu)
        moved = time >= self.touch.move_at
        return (
            np.where(moved, later.cpu[then], cpu),
            np.where(moved, index[later.node[then]], node),
        )
