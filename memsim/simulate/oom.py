"""The OOM killer: who is killed when a request cannot be served otherwise.

Source: mm/oom_kill.c, Linux 6.1 (select_bad_process).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from memsim.memory import Memory
from memsim.memory.killing import (
    OOM_SCORE_ADJ_MIN,
    Holding,
    holding,
    kill,
    let_fail,
    oom_badness,
    why_killing,
)
from memsim.schema import Stream


class OomKill(NamedTuple):
    """A workload that was killed, and for whom."""

    time_ns: int
    asker: str
    """Workload or event whose request could not be served."""
    order: int
    gfp: str
    why: str
    """What the request met: a reason of high_order.csv."""
    extfrag_index: int
    victim: str
    pages_freed: int
    swap_freed: int
    """Pages that were in swap only."""


class OomKiller:
    """Whom the OOM killer may choose among the streams of a trial, and whom it has killed."""

    def __init__(
        self, memory: Memory, names: Sequence[str], streams: Sequence[Stream], first: Sequence[int]
    ) -> None:
        self.memory = memory
        self.names = names
        self.streams = streams
        self.first = first
        self.dead = np.zeros(len(streams), bool)
        self.kills: list[OomKill] = []

    def kill_for(self, asker: int, time_ns: int, order: int, gfp: str, cpu: int) -> int | None:
        """Kill on behalf of a stream's request; return whom, None if nobody holds anything."""
        found = self._select_bad_process()
        if found is None:
            return None
        number, held = found
        why, index = why_killing(self.memory)
        kill(self.memory, *self._handles(number), cpu)
        self.dead[number] = True
        self.kills.append(
            OomKill(
                time_ns=time_ns,
                asker=self.names[asker],
                order=order,
                gfp=gfp,
                why=why.name.lower(),
                extfrag_index=index,
                victim=self.names[number],
                pages_freed=held.pages,
                swap_freed=held.swapped,
            )
        )
        return number

    def notes(self) -> list[str]:
        """Say in sentences who was killed."""
        return [f"{k.victim} was killed for want of memory (oom.csv)" for k in self.kills]

    @property
    def is_hopeless(self) -> bool:
        """Nobody is left who may be killed, whatever he will come to hold."""
        return not any(self._may_kill(number) for number in range(len(self.streams)))

    def spare(self, fails: bool) -> None:
        """Let requests that need a kill fail, or ask for one again."""
        let_fail(self.memory, fails)

    def _may_kill(self, number: int) -> bool:
        stream = self.streams[number]
        unkillable = not stream.killable or stream.oom_score_adj == OOM_SCORE_ADJ_MIN
        return not (unkillable or self.dead[number])

    def _handles(self, number: int) -> tuple[int, int]:
        first = int(self.first[number])
        return first, first + self.streams[number].handles

    def _select_bad_process(self) -> tuple[int, Holding] | None:
        """Choose the stream with the highest score; of equal ones the last, as the kernel does."""
        best: tuple[int, int, Holding] | None = None
        for number, stream in enumerate(self.streams):
            if not self._may_kill(number):
                continue
            held = holding(self.memory, *self._handles(number))
            score = oom_badness(self.memory, held, stream.oom_score_adj)
            if sum(held) and (best is None or score >= best[0]):
                best = score, number, held
        return best[1:] if best else None
