"""Pages that devices hold references to, and pages that others map or have locked."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from memsim.mm import PAGEBLOCK_ORDER
from memsim.schema import Pin
from memsim.units import Share
from memsim.workloads._processes import Processes, ranges
from memsim.workloads._traits import page_traits


class Pinned(BaseModel):
    """Pages that are pinned as soon as a process has grown, and until it exits."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    share: Share = Field(1.0, description="Share of the pages.")
    term: Literal["short", "long"] = Field(
        "long",
        description="long (vfio, RDMA, io_uring: FOLL_LONGTERM) moves a page out of Movable and "
        "CMA memory first; short (vmsplice, O_DIRECT) pins it where it is.",
    )


def pins(pinned: Pinned, processes: Processes, rng: np.random.Generator) -> tuple[Pin, ...]:
    """Choose the pages of each process that are pinned; of a huge page, all or none."""
    who, page = _user_pages(processes)
    chosen = rng.random(len(who)) < pinned.share
    instant = processes.born + processes.grow_ns
    found = []
    for process in np.flatnonzero((instant < processes.dies) & (instant < processes.end_ns)):
        mine = chosen & (who == process)
        handles = (processes.base[process] + page[mine]).astype(np.int32)
        found.append(Pin(int(instant[process]), handles, pinned.term == "long"))
    return tuple(found)


def user_traits(
    shares: dict[int, float], processes: Processes, rng: np.random.Generator
) -> NDArray[np.uint8] | None:
    """Give traits to shares of the pages of processes; return those of all handles."""
    who, page = _user_pages(processes)
    chosen = page_traits(len(who), shares, rng)
    if chosen is None:
        return None
    traits = np.zeros(processes.handles, np.uint8)
    traits[processes.base[who] + page] = chosen
    return traits


def _user_pages(processes: Processes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return (owner, page) of all that processes fault in; of a huge page, its first page."""
    who, page = ranges(np.zeros_like(processes.touched), processes.touched)
    huge = processes.huge[who, page >> PAGEBLOCK_ORDER]
    heads = ~huge | (page % (1 << PAGEBLOCK_ORDER) == 0)
    return who[heads], page[heads]
