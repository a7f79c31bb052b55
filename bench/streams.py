"""The streams of events that the cases run: deterministic, drawn anew in a second or two."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bench.native import address, library
from memsim.mm import OP_FREE, Migratetype

TYPE_SHIFT = 4
SEED = 1
HALVING = (512, 256, 128, 64, 32, 16, 8, 4, 2, 2)
"""Each order half as likely as the one below it: 5 pages on average."""


class Stream(NamedTuple):
    """Events: ``op`` is order + OP_FREE, or order + (type << TYPE_SHIFT)."""

    op: NDArray[np.uint8]
    handle: NDArray[np.int32]
    filled: int
    """Events before this one only fill memory and are not timed."""
    handles: int


@dataclass(frozen=True)
class Mix:
    """A random mix: fill ``fill`` pages, then wander between ``low`` and ``high`` pages in use."""

    fill: int
    low: int
    high: int
    events: int
    """After the fill."""
    orders: tuple[int, ...]
    """Chance of each order in 1024ths."""
    types: tuple[int, int, int]
    """Chance of each type in 256ths."""


class _Mix(ctypes.Structure):
    _fields_ = (
        ("order_of", ctypes.c_void_p),
        ("type_of", ctypes.c_void_p),
        ("fill", ctypes.c_int64),
        ("low", ctypes.c_int64),
        ("high", ctypes.c_int64),
        ("events", ctypes.c_int64),
        ("seed", ctypes.c_uint64),
    )


class _Handles(ctypes.Structure):
    _fields_ = (
        ("live", ctypes.c_void_p),
        ("spare", ctypes.c_void_p),
        ("order", ctypes.c_void_p),
    )


def fill_and_empty(pages: int) -> Stream:
    """Allocate single movable pages, then free them in random order (W1)."""
    op = np.full(2 * pages, Migratetype.MOVABLE << TYPE_SHIFT, np.uint8)
    op[pages:] = OP_FREE
    handle = np.arange(2 * pages, dtype=np.int32)
    handle[pages:] = np.random.default_rng(SEED).permutation(pages)
    return Stream(op, handle, 0, pages)


def halving_mix(pages: int, events: int) -> Stream:
    """Fill 60 % of the pages, then allocate and free at random around that (W2, W3)."""
    target = pages * 6 // 10
    slack = target // 50
    return draw(Mix(target, target - slack, target + slack, events, HALVING, (31, 205, 20)))


def draw(mix: Mix) -> Stream:
    """Draw the events of a mix."""
    mean = sum(share << order for order, share in enumerate(mix.orders)) / 1024
    room = int(1.2 * mix.fill / mean) + mix.events + 1024
    op, handle = np.zeros(room, np.uint8), np.zeros(room, np.int32)
    live, spare = np.zeros(room, np.int32), np.zeros(room, np.int32)
    held = np.zeros(room, np.uint8)
    order_of = np.repeat(np.arange(len(mix.orders)), mix.orders).astype(np.uint8)
    type_of = np.repeat(np.arange(3), mix.types).astype(np.uint8)
    filled = ctypes.c_int64()
    generator = library("streams.c").mix_stream
    generator.restype = ctypes.c_int64
    n = generator(
        ctypes.byref(
            _Mix(
                address(order_of),
                address(type_of),
                mix.fill,
                mix.low,
                mix.high,
                mix.events,
                SEED,
            )
        ),
        ctypes.byref(_Handles(address(live), address(spare), address(held))),
        ctypes.c_int64(room),
        address(op),
        address(handle),
        ctypes.byref(filled),
    )
    return Stream(op[:n], handle[:n], filled.value, int(handle[:n].max()) + 1)
