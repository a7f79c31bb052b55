"""``/proc/kpageflags``: what each page is.

Source: include/uapi/linux/kernel-page-flags.h and fs/proc/page.c, 6.1 (spec trace-formats 5).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from memsim.mm import MAX_PFN
from memsim.traces._files import open_bytes, refuse

WORD = np.dtype("<u8")
CHUNK_BYTES = 8 << 20
(
    REFERENCED,
    UPTODATE,
    DIRTY,
    LRU,
    ACTIVE,
    SLAB,
    WRITEBACK,
    BUDDY,
    MMAP,
    ANON,
    SWAPBACKED,
    COMPOUND_HEAD,
    COMPOUND_TAIL,
    HUGE,
    UNEVICTABLE,
    HWPOISON,
    NOPAGE,
    THP,
    BALLOON,
    PGTABLE,
    RESERVED,
    MLOCKED,
    PRIVATE,
) = (
    1 << bit
    for bit in (2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 14, 15, 16, 17, 18, 19, 20, 22, 23, 26, 32, 33, 35)
)
"""KPF_* as masks; RESERVED and MLOCKED are the kernel hackers' bits."""


def read_page_flags(path: Path) -> NDArray[np.uint64]:
    """Read the flags of every page from pfn 0 on, plain or compressed, (n,) KPF_* masks.

    Raises InputError for a file that is not made of whole words, or larger than any machine.
    """
    pieces = []
    size = 0
    with open_bytes(path) as file:
        while piece := file.read(CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > MAX_PFN * WORD.itemsize:
                raise refuse(path, "has more pages than 8160 GiB")
    if size == 0 or size % WORD.itemsize:
        raise refuse(path, f"has {size} bytes, expected 8 for each page frame from 0 on")
    return np.frombuffer(b"".join(pieces), WORD).astype(np.uint64)
