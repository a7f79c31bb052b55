"""Streams are merged by time, then by the order of the streams."""

import numpy as np
import pytest

from memsim.schema import AllocBatch
from memsim.simulate.interleave import in_batches, interleave


def batch(*times):
    n = len(times)
    return AllocBatch(
        np.array(times, np.int64),
        np.zeros(n, np.uint8),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.arange(n, dtype=np.int32),
    )


def merged(*streams, size=1000):
    return [
        (int(time), int(stream))
        for part in in_batches(interleave(streams), size)
        for time, stream in zip(part.batch.time, part.stream, strict=True)
    ]


def test_events_of_one_instant_come_in_the_order_of_the_streams():
    assert merged([batch(5, 5)], [batch(1, 5)]) == [(1, 1), (5, 0), (5, 0), (5, 1)]


def test_a_later_batch_of_the_first_stream_still_comes_first():
    first = [batch(1, 5), batch(5), batch(5, 7)]
    assert merged(first, [batch(5, 6)]) == [
        (1, 0), (5, 0), (5, 0), (5, 0), (5, 1), (6, 1), (7, 0),
    ]  # fmt: skip


def test_streams_without_events_are_passed_over():
    assert merged([], [batch()], [batch(3)]) == [(3, 2)]
    assert merged() == []


@pytest.mark.parametrize("size", [1, 2, 7])
def test_batches_have_the_asked_size_and_lose_nothing(size):
    streams = [[batch(0, 2, 4), batch(6, 8)], [batch(1, 3, 5, 7, 9)]]
    lengths = [len(part) for part in in_batches(interleave(streams), size)]
    assert lengths[:-1] == [size] * (len(lengths) - 1)
    assert merged(*streams, size=size) == [(t, t % 2) for t in range(10)]


def test_equal_to_a_stable_sort_of_everything():
    rng = np.random.default_rng(5)
    streams, everything = [], []
    for number in range(4):
        times = np.sort(rng.integers(0, 40, 60))
        everything += [(int(t), number) for t in times]
        cuts = np.sort(rng.integers(0, 61, 5))
        streams.append([batch(*part) for part in np.split(times, cuts)])
    assert merged(*streams, size=11) == sorted(everything)


@pytest.mark.parametrize("batches", [[batch(2, 1)], [batch(3), batch(2)]], ids=["within", "across"])
def test_a_stream_that_goes_back_in_time_is_refused(batches):
    with pytest.raises(ValueError, match="not sorted by time"):
        merged(batches, [batch(9)])
