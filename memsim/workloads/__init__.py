"""WHO ASKS: one file per kind of workload.

A workload file defines one class ``Workload``: a frozen pydantic model whose fields are the knobs
of the scenario file (with units, see ``memsim.units``), whose class docstring is what
``memsim list workloads`` prints, and which has a ``stream`` method:

    class Workload(WorkloadModel):
        '''Ask for one page every millisecond and keep it.'''

        pages: int = 100

        def stream(self, ctx: Context) -> Stream: ...

A stream never learns what became of its requests; with a ``pace`` it waits for them. All randomness
comes from ``ctx.rng``; arrays are made with numpy, not page by page; times interleave with those of
other workloads, so a stream spreads its events in time instead of issuing them in blocks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from pydantic import BaseModel, ConfigDict

from memsim.schema import Stream


@dataclass(frozen=True)
class Context:
    """What a workload may know of the trial that it is part of."""

    name: str
    """Its key in the scenario."""
    duration_ns: int
    rng: np.random.Generator
    """Its own stream of random numbers, spawned by name from the trial's seed."""
    cpus: dict[int, tuple[int, ...]]
    """CPUs of each node that has memory or CPUs (a node without CPUs has an empty tuple)."""
    pages: dict[int, int]
    """Present pages of each node with memory."""
    directory: str
    """Folder of the scenario file, which paths in it are relative to."""


class WorkloadModel(BaseModel):
    """Base of every workload's knobs: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @property
    def locked_bytes(self) -> int:
        """Memory that it holds at one time and that no reclaim can take: it must fit."""
        return 0


class WorkloadKind(Protocol):
    """What a workload file must define under the name ``Workload``."""

    def stream(self, ctx: Context) -> Stream:
        """Plan all requests of the trial."""
