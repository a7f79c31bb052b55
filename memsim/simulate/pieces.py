"""Huge pages that were split after they were planned: whoever frees one frees all its pieces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.mm import OP_FREE

ORDER = 0xF


class Columns(NamedTuple):
    """Events by the handles of the whole machine (arrays of length n)."""

    op: NDArray[np.uint8]
    request: NDArray[np.uint16]
    cpu: NDArray[np.uint16]
    handle: NDArray[np.int32]
    time: NDArray[np.int64]


class Pieces:
    """The handles of what huge pages were split into."""

    def __init__(self) -> None:
        self._first: dict[int, int] = {}
        """Of the other pages, by the handle that the first page keeps."""

    def add(self, split: Iterable[tuple[int, int]]) -> None:
        """Note huge pages that were split: their handle, and the first of those of the others."""
        self._first.update((int(handle), int(first)) for handle, first in split)

    def expanded(self, events: Columns) -> tuple[Columns, NDArray[np.int64]]:
        """Free every piece where a huge page is freed that is split.

        Returns the events, and how many of those given are carried out once so many of them are.
        """
        whole = np.arange(len(events.op) + 1)
        if not self._first:
            return events, whole
        order = events.op & ORDER
        split = np.isin(events.handle, [*self._first]) & (order > 0)
        frees = split & (events.op & OP_FREE > 0)
        count = np.where(frees, 1 << order.astype(np.int64), 1)
        rows = np.repeat(np.arange(len(count)), count)
        number = np.arange(len(rows)) - np.repeat(np.cumsum(count) - count, count)
        columns = Columns._make(column[rows] for column in events)
        first = np.array([self._first.get(h, 0) for h in columns.handle.tolist()], np.int64)
        piece = number > 0
        handle = np.where(piece, first + number - 1, columns.handle).astype(np.int32)
        op = np.where(split[rows], columns.op & ~np.uint8(ORDER), columns.op).astype(np.uint8)
        done = np.searchsorted(np.cumsum(count), np.arange(len(rows) + 1), "right")
        return columns._replace(op=op, handle=handle), done
