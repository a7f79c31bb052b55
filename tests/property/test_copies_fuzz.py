"""Damaged copies of /proc: an InputError that steers no terminal, or a state that is sound."""

import random
import re
import shutil

import numpy as np
import pytest
from architecture.source_tree import ROOT

from memsim.errors import InputError
from memsim.explain.capture import ask_capture
from memsim.explain.capture_text import as_lines
from memsim.memory.restore import restore
from memsim.policies import LINUX_6_1, mobility
from memsim.snapshot.observed import observe
from memsim.snapshot.state import draw_state

IDLE = ROOT / "tests/data/captures/e1/n2kc"
TEXTS = (
    "buddyinfo.txt", "zoneinfo.txt", "pagetypeinfo.txt", "memory_blocks.csv",
    "block_size_bytes.txt", "meminfo.txt",
)  # fmt: skip
WORDS = ("-1", "0", "1", "99999999999999999999", "4096", "None", "DMA", ">100000", "\x1b[1m", "é")


def damaged(lines, chance):
    """Lose, repeat, swap or cut off lines, or change a word or a number of one."""
    at, other = chance.randrange(len(lines)), chance.randrange(len(lines))
    kind = chance.randrange(6)
    if kind == 0:
        del lines[at]
    elif kind == 1:
        lines.insert(at, lines[other])
    elif kind == 2:
        lines[at], lines[other] = lines[other], lines[at]
    elif kind == 3:
        del lines[at + 1 :]
    elif kind == 4:
        words = lines[at].split(" ")
        words[chance.randrange(len(words))] = chance.choice(WORDS)
        lines[at] = " ".join(words)
    elif numbers := list(re.finditer(r"\d+", lines[at])):
        number = chance.choice(numbers)
        value = int(int(number[0]) * chance.choice((0, 0.5, 1, 2, 10))) + chance.choice((0, 1))
        lines[at] = lines[at][: number.start()] + str(value) + lines[at][number.end() :]
    return lines


@pytest.mark.parametrize("seed", range(16))
def test_damaged_copies_are_refused_or_make_a_sound_state(tmp_path, seed):
    chance = random.Random(seed)
    folder = shutil.copytree(IDLE, tmp_path / "copies")
    for _ in range(chance.choice((1, 1, 2, 3))):
        path = folder / chance.choice(TEXTS)
        path.write_text("\n".join(damaged(path.read_text().split("\n"), chance)))
    try:
        seen = observe(folder)
        lines = as_lines(ask_capture(seen, pin_rate=0.1))
        state, pages = draw_state(seen, np.random.default_rng(seed)).snapshot
        memory = restore(state, mobility.Policy().tables(LINUX_6_1), pages=pages)
    except InputError as error:
        assert "\x1b" not in str(error)
        return
    assert lines
    for z, zone in enumerate(state.zones):
        listed = sum(len(pfns) << order for (order, _), pfns in zone.free.items())
        assert abs(memory.nr_free_pages(z) - listed) <= 1000
    memory.check()
