"""Streams are merged by time, then in their order, as far as they keep to their plans."""

import numpy as np
import pytest

from memsim.mm import OP_FREE
from memsim.schema import AllocBatch, Pace, Stream
from memsim.simulate.interleave import FOREVER, Agenda


def batch(*times, op=0):
    n = len(times)
    return AllocBatch(
        np.array(times, np.int64),
        np.broadcast_to(np.asarray(op, np.uint8), n),
        np.zeros(n, np.uint16),
        np.zeros(n, np.uint16),
        np.arange(n, dtype=np.int32),
    )


def agenda(*streams, paces=()):
    streams = [Stream((), 1, batches) for batches in streams]
    for number, pace in enumerate(paces):
        streams[number] = Stream((), 1, streams[number].batches, pace=pace)
    return Agenda(streams)


def pairs(events):
    return list(zip(events.batch.time.tolist(), events.stream.tolist(), strict=True))


def rest(of, size=1000, until=FOREVER):
    found = []
    while len(events := of.take(size, until)):
        found += pairs(events)
        of.done(events, len(events))
    return found


def merged(*streams, size=1000):
    return rest(agenda(*streams), size)


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
def test_no_more_is_taken_than_asked_for_and_nothing_is_lost(size):
    streams = [[batch(0, 2, 4), batch(6, 8)], [batch(1, 3, 5, 7, 9)]]
    assert merged(*streams, size=size) == [(t, t % 2) for t in range(10)]
    assert len(agenda(*streams).take(size, FOREVER)) <= size


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


def test_what_is_not_done_stays_on_the_agenda():
    of = agenda([batch(1, 3, 9)], [batch(2, 9)])
    of.done(of.take(9, FOREVER), 2)
    assert rest(of) == [(3, 0), (9, 0), (9, 1)]


def test_requests_that_are_left_are_counted():
    of = agenda([batch(1, 3, 9, op=[0, 0, OP_FREE])])
    of.done(of.take(1, FOREVER), 1)
    assert of.left(0) == 1


def test_nothing_is_taken_from_an_instant_on():
    of = agenda([batch(1, 3)], [batch(2)])
    assert rest(of, until=3) == [(1, 0), (2, 1)]
    assert rest(of) == [(3, 0)]


def test_a_stream_that_falls_behind_lets_others_pass():
    of = agenda([batch(1, 3, 5)], [batch(2, 4, 6)])
    of.done(of.take(1, FOREVER), 1)
    of.delay(0, 2)
    assert rest(of) == [(2, 1), (4, 1), (5, 0), (6, 1), (7, 0)]


def test_streams_of_a_group_fall_behind_together():
    of = agenda([batch(1)], [batch(2)], [batch(2)], paces=[Pace(1, group="a")] * 2)
    of.delay(0, 5)
    assert rest(of) == [(2, 2), (6, 0), (7, 1)]


def test_at_a_deadline_a_late_stream_gives_back_and_goes_on_as_planned():
    planned = [batch(1, 3, 4, op=[0, 0, OP_FREE]), batch(6, 8, op=[0, OP_FREE])]
    of = agenda(planned, [batch(5)], paces=[Pace(1, (6,))])
    of.delay(0, 3)
    assert rest(of) == [(4, 0), (5, 1), (6, 0), (6, 0), (8, 0)]


def test_a_deadline_that_is_met_in_time_is_forgotten():
    of = agenda([batch(1, 6, 8)], paces=[Pace(1, (5,))])
    of.done(of.take(2, FOREVER), 2)
    of.delay(0, 4)
    assert rest(of) == [(12, 0)]


def test_a_stream_that_is_dropped_does_nothing_any_more():
    of = agenda([batch(1, 3), batch(4)], [batch(2)])
    of.drop(0)
    assert rest(of) == [(2, 1)]
