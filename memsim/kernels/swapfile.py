"""Swap slots.

Source: mm/swapfile.c, Linux 6.1; spec linux-2.6.14 6.8 for the search of 2005.
"""

from __future__ import annotations

from memsim.kernels._jit import helper
from memsim.kernels.layout import Mem
from memsim.kernels.system import S_SWAP_FREE


@helper
def swap_free(m: Mem, slot: int) -> None:
    """Give a slot back."""
    m.swap_map[slot] = 0
    m.system[S_SWAP_FREE] += 1
