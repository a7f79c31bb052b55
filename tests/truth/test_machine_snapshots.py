"""Start states from copies of /proc, computed back: the files that were read, and their flags.

``make truth CAPTURES=DIR`` takes the folders of copies of another folder instead of the committed.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from memsim.export import proc_text
from memsim.memory.invariants import listed_blocks
from memsim.memory.restore import restore
from memsim.memory.undetermined import draw_undetermined
from memsim.mm import MAX_PAGE_ORDER, NR_PAGE_ORDERS
from memsim.policies import LINUX_6_1, mobility
from memsim.snapshot.observed import is_folder_of_copies, observe
from memsim.snapshot.state import draw_state
from memsim.traces import _page_flags as kpf

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
FOLDER = Path(os.environ.get("MEMSIM_CAPTURES", COMMITTED))
FOLDERS = sorted({path.parent for path in FOLDER.rglob("buddyinfo.txt")})
COPIES = [folder for folder in FOLDERS if is_folder_of_copies(folder)]


@pytest.fixture(scope="module", params=COPIES, ids=lambda path: "-".join(path.parts[-3:]))
def restored(request):
    seen = observe(request.param)
    chance = np.random.default_rng(1)
    snapshot = draw_state(seen, chance).snapshot
    tables = mobility.Policy().tables(LINUX_6_1)
    memory = restore(snapshot.state, tables, pages=snapshot.pages)
    draw_undetermined(memory, snapshot, chance)
    return request.param, seen, memory


@pytest.mark.parametrize("name", ["buddyinfo", "pagetypeinfo"])
def test_the_file_computed_back_is_the_file(restored, name):
    folder, seen, memory = restored
    path = folder / f"{name}.txt"
    contradicted = any(f": {name} has other" in said for said in seen.differences)
    if not path.is_file() or contradicted:
        pytest.skip(f"no {name} that agrees with buddyinfo")
    assert proc_text(memory, name) == path.read_text()


def blocks_by_order(free):
    """Count the largest aligned blocks that runs of free pages are made of."""
    counts = np.zeros(NR_PAGE_ORDERS, np.int64)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], free.astype(np.int8), [0]])))
    for first, end in edges.reshape(-1, 2).tolist():
        while first < end:
            order = MAX_PAGE_ORDER
            while first % (1 << order) or first + (1 << order) > end:
                order -= 1
            counts[order] += 1
            first += 1 << order
    return counts


def test_free_pages_are_those_of_the_flags_but_for_what_files_contradict(restored):
    _, seen, memory = restored
    if seen.flags is None:
        pytest.skip("no kpageflags")
    for z, zone in enumerate(seen.zones):
        blocks = listed_blocks(memory, z)
        free = np.zeros(memory.nr_pages, bool)
        for pfn, order in zip(blocks.pfn.tolist(), blocks.order.tolist(), strict=True):
            free[pfn : pfn + (1 << order)] = True
        own = np.repeat(memory.mem.zone_of == z, 1024)[: memory.nr_pages]
        marked = own & (seen.flags[: memory.nr_pages] & kpf.BUDDY != 0)
        other = np.abs(zone.free - blocks_by_order(marked)) << np.arange(NR_PAGE_ORDERS)
        assert np.count_nonzero(free != marked) <= other.sum()
