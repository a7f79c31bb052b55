"""memsim against a real kernel: memory blocks taken offline one after the other.

``make truth CAPTURES=DIR`` judges the captures of another folder instead of the committed ones.
"""

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from memsim.cli import main
from memsim.errors import InputError
from memsim.fidelity.hot_remove_start import Pins, pin, read_pins
from memsim.fidelity.kernel_log import complaint_of, read_complaints
from memsim.fidelity.offlining import (
    RECORD,
    START,
    has_offlining,
    judge_offlining,
    read_blocks,
)
from memsim.fidelity.removals import take_out
from memsim.kernels import layout as L
from memsim.memory.restore import restore
from memsim.policies import LINUX_6_1, mobility
from memsim.traces import Accounting, TraceEvent, trace_table
from memsim.traces.capture import read_snapshot

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
FOLDER = Path(os.environ.get("MEMSIM_CAPTURES", COMMITTED))
CAPTURES = sorted(path.parent for path in FOLDER.rglob(RECORD) if has_offlining(path.parent))
BORN_LATER = {("n2_anon", 41)}
"""Kept by a page of the kernel's that was allocated after the state was read (pfn 0x14e8ed)."""
NEARLY_FULL = {"n2_full0"}
"""Its other node has 50 MiB left; the kernel kept 300 pages more of one zone (decision 19)."""


@pytest.fixture(scope="module", params=CAPTURES, ids=lambda p: p.name)
def report(request):
    return judge_offlining(request.param)


def test_outcomes_and_reasons_are_the_kernels(report):
    wrong = {(report.capture, b.block) for b in report.blocks if b.outcome != "ok"}
    assert wrong == BORN_LATER & {(report.capture, b.block) for b in report.blocks}
    assert report.right == len(report.blocks) - len(wrong)


def test_pages_moved_and_the_page_that_stopped_it_are_the_kernels(report):
    assert {b.moved for b in report.blocks} <= {"ok", "not judged"}
    assert {b.page for b in report.blocks} <= {"ok", "not judged"}


def test_what_is_free_afterwards_is_what_the_kernel_had(report):
    judged = [b.free for b in report.blocks if b.free != "not judged"]
    assert judged
    if report.capture in NEARLY_FULL:
        assert max(b.free_difference for b in report.blocks) < 0.025, report.to_text()
    else:
        assert set(judged) == {"ok"}, report.to_text()


def test_flags_alone_say_less_where_pages_are_pinned_or_the_other_node_is_full(report):
    static = sum(b.static_right for b in report.blocks)
    stuck = [b for b in report.blocks if b.kernel == 4]
    assert static <= len(report.blocks) - len([b for b in stuck if b.static])


def test_all_blocks_of_the_committed_boots_end_as_the_kernels():
    found = [read_blocks(path) for path in sorted((COMMITTED / "e3").iterdir())]
    assert [[line.errno for line in lines] for lines in found] == [
        [0] * 8,
        [16, 0, 4, 4, 4, 16, 0, 16],
        [16, 4, 4, 4, 4, 4, 0, 16],
    ]


def test_the_log_names_the_page_and_its_kind():
    complaints = read_complaints(COMMITTED / "e3" / "n2_full0")
    assert (complaints[36].reason, complaints[36].unmovable_pfn) == ("slab", 0x120000)
    assert (complaints[41].reason, complaints[41].unmovable_pfn) == ("page table", 0x14D800)
    assert complaints[43].reason == "reserved"
    assert (complaints[38].reason, complaints[38].unmovable_pfn) == ("no memory elsewhere", -1)
    assert complaints[37] == complaint_of([])
    pinned = complaint_of(["migrating pfn 128074 failed ret:338"])
    assert (pinned.reason, pinned.unmovable_pfn) == ("pinned", -1)


def test_pages_that_whoever_pinned_them_has_marked_are_pinned_first():
    folder = COMMITTED / "e3" / "n2_pinvm"
    (lot,) = read_pins(folder)
    assert lot == Pins(1822, (1,))
    snapshot = read_snapshot(folder / START)
    tables = mobility.Policy().tables(LINUX_6_1)
    memory = restore(snapshot.state, tables, pages=snapshot.pages)
    before = memory.mem.state.copy()
    pin(memory, lot)
    drawn = np.flatnonzero(memory.mem.state & ~before & L.PAGE_PINNED)
    assert len(drawn) == 1822
    assert np.all(before[drawn] & L.PAGE_REFERENCED)
    per_block = np.bincount(drawn >> 15, minlength=44)[37:42]
    assert per_block.tolist() == [338, 346, 319, 334, 206]


def test_pins_that_were_moved_out_of_movable_are_where_they_went(tmp_path):
    hog = {"hog_pages": 100, "pinned": 7, "where": {"1": 93, "0": 7}}
    (tmp_path / "hog_1.json").write_text(json.dumps(hog))
    (tmp_path / "hog_2.json").write_text(json.dumps({"kobj": "pipes", "done": 3200}))
    assert read_pins(tmp_path) == (Pins(7, (0,)),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "records no block"),
        ("no json\n", "is no attempt to take a block offline"),
        ('{"op": "offline", "blk": 3}\n', "is no attempt to take a block offline"),
        ('{"op": "offline", "blk": 3, "errno": 0, "ms": 1, "vmstat": 3}\n', "block 3"),
    ],
)
def test_records_that_do_not_fit_are_refused(tmp_path, text, message):
    (tmp_path / RECORD).write_text(text)
    with pytest.raises(InputError, match=message):
        read_blocks(tmp_path)


def test_what_the_kernel_does_for_an_offline_is_taken_out_of_a_trace():
    alloc, free = TraceEvent.MM_PAGE_ALLOC, TraceEvent.MM_PAGE_FREE
    drain, moves, marker = (
        TraceEvent.MM_PAGE_PCPU_DRAIN,
        TraceEvent.MM_MIGRATE_PAGES,
        TraceEvent.MARKER,
    )
    # One page moves after an interrupt has freed another, one cannot; the first is freed later.
    lines = [
        (free, 7),
        (marker, -1),
        (drain, 40000),
        (alloc, 100),
        (free, 8),
        (free, 40000),
        (alloc, 101),
        (free, 101),
        (moves, -1),
        (free, 100),
    ]
    events, pfns = (list(column) for column in zip(*lines, strict=True))
    target = [1 if event == alloc else 0 if event == free else -1 for event in events]
    table = trace_table(
        {"time": range(len(lines)), "event": events, "pfn": pfns, "gfp": target},
        Accounting(),
        ("none", "GFP_USER|__GFP_RETRY_MAYFAIL|__GFP_COMP|__GFP_MOVABLE"),
    )
    marked = np.where(table.event == marker, 0, -1).astype(np.int16)
    table = replace(table, marker=marked, marker_texts=("LAB_OFFLINE 1",))
    rest, (offline,) = take_out(table)
    assert rest.pfn.tolist() == [7, -1, 40000, 8, 40000]
    assert (offline.block, offline.isolated, offline.moved, offline.calls) == (1, 2, 3, 1)
    assert (offline.sources.tolist(), offline.targets.tolist()) == ([40000], [100])


def test_one_command_says_it():
    arguments = ["fidelity", str(COMMITTED / "e3" / "dimm_anon")]
    result = CliRunner().invoke(main, arguments)
    lines = result.stdout.splitlines()
    assert lines[0].startswith("dimm_anon: 8 of 8 blocks as the kernel's")
    assert result.exit_code == 0
    whole = json.loads(CliRunner().invoke(main, [*arguments, "--format", "json"]).stdout)
    assert (whole["right"], len(whole["blocks"])) == (8, 8)
