"""Memory policies of processes (set_mempolicy)."""

from __future__ import annotations

from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, model_validator

from memsim.mm import GFP_COMPOSITES, Gfp, Use
from memsim.schema import Request
from memsim.units import NodeId, NodeSet


class Fault(IntEnum):
    """What a process asks the page allocator for."""

    PAGE = 0
    HUGE = 1
    TABLE = 2
    ARGUMENT = 3


class Targets(NamedTuple):
    """Which request of each kind of fault is made: row = fault * width + column."""

    width: int
    interleaved: bool

    def row(
        self, fault: Fault, number: NDArray[np.int64], node: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the request of the faults with these numbers, made near these nodes."""
        column = number % self.width if self.interleaved else np.minimum(node, self.width - 1)
        return fault * self.width + column


class Mempolicy(BaseModel):
    """Where the memory of a process comes from; without a policy, from the node it runs on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bind: NodeSet | None = None
    """Only from these nodes."""
    preferred: NodeId | None = None
    """From this node, from others when it is full."""
    interleave: NodeSet | None = None
    """From these nodes in turn."""

    @model_validator(mode="after")
    def _at_most_one(self) -> Mempolicy:
        names = [n for n in Mempolicy.model_fields if getattr(self, n) is not None]
        if len(names) > 1:
            raise ValueError(f"expected one of bind, preferred, interleave; found {len(names)}")
        return self

    def targets(self, running_on: tuple[int, ...]) -> Targets:
        """Say how faults find their request."""
        return Targets(len(self._nodes(running_on)), self.interleave is not None)

    def requests(self, running_on: tuple[int, ...]) -> tuple[Request, ...]:
        """Return the requests of every kind of fault, for each node."""
        return tuple(
            self._request(fault, node) for fault in Fault for node in self._nodes(running_on)
        )

    def _nodes(self, running_on: tuple[int, ...]) -> tuple[int, ...]:
        if self.preferred is not None:
            return (self.preferred,)
        return self.interleave or running_on

    def _request(self, fault: Fault, node: int) -> Request:
        if fault == Fault.TABLE:
            # Unlike Linux: page tables of a bound process only prefer its nodes, even where these
            # have memory for page tables (apply_policy_zone, mm/mempolicy.c, 6.1).
            preferred = node if self.bind is None or node in self.bind else self.bind[0]
            return Request(_TABLE, Use.PAGE_TABLE, preferred=preferred)
        gfp, use = _PAGE, Use.EXEC if fault == Fault.ARGUMENT else Use.ANON
        if fault == Fault.HUGE:
            # Unlike Linux: a huge page that cannot be had is not made up for by small ones (nor,
            # without bind and interleave, asked for on other nodes).
            gfp = _HUGE if self.bind or self.interleave else _HUGE | Gfp.THISNODE | Gfp.NORETRY
        return Request(gfp, use, nodes=self.bind, preferred=node, lru=True)


_PAGE = GFP_COMPOSITES["GFP_HIGHUSER_MOVABLE"] | Gfp.COMP | Gfp.ZERO
_HUGE = GFP_COMPOSITES["GFP_TRANSHUGE"]
_TABLE = GFP_COMPOSITES["GFP_KERNEL_ACCOUNT"] | Gfp.ZERO
