"""Closed forms: what chance alone gives, where pages lie at random."""

from __future__ import annotations

from math import expm1, log1p


def free_block_chance(total: int, free: int, order: int) -> float:
    """Say how likely it is that some block of an order is free among pages free at random.

    ``total`` and ``free`` are pages. Each free page is taken to be an independent trial: the other
    pages of its block must be free too. Source: M. Bligh, 3 November 2005 (spec history-2005 1.9).
    """
    alone = (free / total) ** ((1 << order) - 1)
    if alone >= 1:
        return 1.0 if free else 0.0
    return -expm1(free * log1p(-alone))


def expected_free_blocks(total: int, free: int, order: int) -> float:
    """Return how many aligned blocks of an order are free on average, to first order.

    Every page is free with the same chance, whatever its neighbours are.
    """
    size = 1 << order
    return total / size * (free / total) ** size


def removable_chance(unmovable: float, pages: int) -> float:
    """Say how likely a section of so many pages has no unmovable one, if these lie at random.

    ``unmovable`` is their share of all pages. Source: spec history-2005 4.1.
    """
    return float((1 - unmovable) ** pages)


def whole_percent(part: int, whole: int) -> int:
    """Return a percentage as the tests of 2005 printed it: cut off, not rounded."""
    return 100 * part // whole if whole else 0
