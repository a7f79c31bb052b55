"""Frees of huge pages that have been split."""

import numpy as np

from memsim.mm import OP_FREE, OP_TOUCH
from memsim.simulate.pieces import Columns, Pieces


def columns(op, handle):
    n = len(op)
    return Columns(
        np.array(op, np.uint8),
        np.arange(n, dtype=np.uint16),
        np.arange(n, dtype=np.uint16),
        np.array(handle, np.int32),
        np.arange(n, dtype=np.int64) * 10,
    )


def test_without_pieces_events_stay_what_they_are():
    events = columns([0, 9, 9 | OP_FREE], [3, 4, 4])
    same, done = Pieces().expanded(events)
    assert same is events and done.tolist() == [0, 1, 2, 3]


def test_whoever_frees_a_split_page_frees_its_pieces():
    pieces = Pieces()
    pieces.add([(4, 100)])
    events = columns([0, 2 | OP_TOUCH, 2 | OP_FREE, 2 | OP_FREE, 0], [3, 4, 4, 5, 6])
    more, done = pieces.expanded(events)
    assert more.handle.tolist() == [3, 4, 4, 100, 101, 102, 5, 6]
    assert more.op.tolist() == [0, OP_TOUCH, *[OP_FREE] * 4, 2 | OP_FREE, 0]
    assert more.time.tolist() == [0, 10, 20, 20, 20, 20, 30, 40]
    # The free is carried out once its last piece is free.
    assert done.tolist() == [0, 1, 2, 2, 2, 2, 3, 4, 5]
