"""Traits of pages (layout.TRAIT_*), each given to its share of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def page_traits(
    pages: int, shares: dict[int, float], rng: np.random.Generator, everywhere: int = 0
) -> NDArray[np.uint8] | None:
    """Give each trait (layout.TRAIT_*) to its share of the pages, chosen at random.

    ``everywhere`` are traits of all pages. None: no page has any.
    """
    chosen = {trait: share for trait, share in shares.items() if share}
    if not chosen and not everywhere:
        return None
    traits = np.full(pages, everywhere, np.uint8)
    for trait, share in chosen.items():
        traits[rng.random(pages) < share] |= trait
    return traits
