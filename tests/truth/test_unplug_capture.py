"""``memsim unplug`` on copies of /proc and /sys, beside what the kernel then could and could not.

``make truth CAPTURES=DIR`` asks the captures of another folder instead of the committed ones.
"""

import json
import os
from pathlib import Path

import pytest
from click.testing import CliRunner

from memsim.cli import main
from memsim.fidelity.offlining import RECORD, START, read_blocks, scan_state
from memsim.snapshot.observed import is_folder_of_copies
from memsim.traces.capture import read_snapshot

COMMITTED = Path(__file__).parent.parent / "data" / "captures"
FOLDER = Path(os.environ.get("MEMSIM_CAPTURES", COMMITTED))
RECORDS = sorted(path.parent for path in FOLDER.rglob(RECORD))
CAPTURES = [path for path in RECORDS if is_folder_of_copies(path / START)]
AT_ONCE = (16, 22)
BORN_LATER = {("n2_anon", 41)}
"""Kept by a page of the kernel's that was allocated after the copies were made (pfn 0x14e8ed)."""


def unplug(*args):
    outcome = CliRunner().invoke(main, ["unplug", *map(str, args)])
    return outcome.exit_code, outcome.output


@pytest.fixture(scope="module", params=CAPTURES, ids=lambda path: path.name)
def folder(request):
    return request.param


def test_blocks_that_cannot_be_isolated_are_named_before(folder):
    code, output = unplug(folder / START, "--node", 1, "--format", "json")
    assert code == 0
    seen = {
        b["number"]: bool(b["obstacles"] or not b["zone"]) for b in json.loads(output)["blocks"]
    }
    kernel = {line.block: line.errno in AT_ONCE for line in read_blocks(folder)}
    wrong = {(folder.name, number) for number in kernel if seen[number] != kernel[number]}
    assert wrong == BORN_LATER & {(folder.name, number) for number in kernel}


def test_what_is_open_went_unless_pages_were_marked_or_there_was_no_room(folder):
    lines = read_blocks(folder)
    scans = scan_state(read_snapshot(folder / START), [line.block for line in lines])
    for line, scan in zip(lines, scans, strict=True):
        if (folder.name, line.block) not in BORN_LATER and scan.answer != "no":
            assert (line.errno == 0) == (scan.marked == 0)


def test_text_says_what_cannot_be_seen_and_a_probability_only_with_a_rate():
    folder = COMMITTED / "e3/n2_pinvm" / START
    code, text = unplug(folder, "--block", 37)
    assert code == 0
    assert "Pins and reference counts are in no file" in text
    assert "| 37 | node1 Normal | no obstacle seen |" in text
    assert "%" not in text
    assert "goes if 0.001 of pages are pinned" in unplug(folder, "--pin-rate", "0.001")[1]


def test_a_size_takes_the_easiest_blocks_that_suffice():
    code, text = unplug(COMMITTED / "e3/dimm_anon" / START, "--size", "256MiB")
    assert code == 0
    assert text.startswith("# No obstacle seen in 256MiB of 256MiB")
    assert [line[:5] for line in text.splitlines() if line.startswith("| 4")] == ["| 47 ", "| 46 "]


def test_pins_that_zoneinfo_counts_are_said():
    text = unplug(COMMITTED / "e3/n2_pinvm" / START, "--block", 37)[1]
    assert "the like: 0 on node 0, 0 on node 1; vmsplice's are not counted" in text


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--node", 7), "node 7 does not exist"),
        (("--block", 99), "block 99 is not there, or offline already: EINVAL"),
        (("--block", 36, "--node", 1), "at most one of"),
    ],
)
def test_what_is_not_there_exits_with_2(args, says):
    code, output = unplug(COMMITTED / "e3/n2_pinvm" / START, *args)
    assert code == 2
    assert says in output


def test_a_folder_without_copies_is_one_line(tmp_path):
    code, output = unplug(tmp_path)
    assert code == 2
    assert "holds no copy of /proc/buddyinfo" in output


def test_the_folder_above_says_where_the_copies_are():
    code, output = unplug(COMMITTED / "e3/n2_pinvm")
    assert code == 2
    assert "hint: there is one in before" in output
