"""Huge pages that workloads map, touch and give back (hugetlbfs)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from memsim.memory import Memory, hugetlb
from memsim.schema import HugeMapping, Stream

STEPS = 64
"""Parts in which a mapping is touched."""


class Mappings:
    """The workloads' mappings, and what became of those that could not be."""

    def __init__(
        self,
        memory: Memory,
        names: Sequence[str],
        streams: Sequence[Stream],
        first_handle: Sequence[int],
        add: Callable[[int, Callable[[], None]], None],
        drop: Callable[[int], None],
    ) -> None:
        """Plan with ``add``, which takes an instant and what happens then; ``drop`` ends one."""
        self.memory, self._names, self._add, self._drop = memory, names, add, drop
        self.notes: list[str] = []
        self._ended: set[int] = set()
        for number, (first, stream) in enumerate(zip(first_handle, streams, strict=True)):
            if stream.huge is not None:
                huge = stream.huge._replace(handles=stream.huge.handles + np.int32(first))
                add(huge.start_ns, partial(self._map, number, huge))

    def _map(self, number: int, huge: HugeMapping) -> None:
        if not hugetlb.reserve(self.memory, len(huge.handles)):
            self._end(number, "the pool has too few huge pages left to map: ENOMEM")
            return
        parts = np.array_split(huge.handles, min(STEPS, len(huge.handles)))
        for i, part in enumerate(parts):
            instant = huge.start_ns + huge.grow_ns * i // len(parts)
            self._add(instant, partial(self._touch, number, huge, part))
        self._add(huge.exit_ns, partial(self._unmap, number, huge))

    def _touch(self, number: int, huge: HugeMapping, handles: NDArray[np.int32]) -> None:
        if number in self._ended:
            return
        for node in huge.preferred:
            mine = handles[handles % len(huge.preferred) == huge.preferred.index(node)]
            if not hugetlb.fault(self.memory, mine, node, huge.nodes):
                self._end(number, "its nodes have no huge page left: SIGBUS")
                hugetlb.unmap(self.memory, huge.handles)
                return

    def _unmap(self, number: int, huge: HugeMapping) -> None:
        if number not in self._ended:
            hugetlb.unmap(self.memory, huge.handles)

    def _end(self, number: int, why: str) -> None:
        self._ended.add(number)
        self._drop(number)
        self.notes.append(f"{self._names[number]} ended: {why}")
