"""Copies of /proc and /sys: what is read of them, and what a truncated copy is told."""

import gzip
import shutil
from pathlib import Path

import numpy as np
import pytest

from memsim.errors import InputError
from memsim.mm import Migratetype, ZoneType
from memsim.snapshot.observed import is_folder_of_copies, observe
from memsim.snapshot.proc import parse_buddyinfo, parse_pagetypeinfo, parse_zoneinfo

IDLE = Path(__file__).parents[1] / "data/captures/e1/n2kc"
BOOSTED = """Node 0, zone   Normal
  pages free     100
        boost    512
        min      768
        low      832
        high     896
        spanned  1024
        present  1024
        managed  1000
        protection: (0, 0, 0, 0, 0)
  pagesets
    cpu: 0
              count:    7
              high:     300
              batch:    63
              high_min: 300
  vm stats threshold: 4
  start_pfn:           4096
"""


def lines(text):
    return Path("copy"), text.split("\n")


@pytest.fixture
def copies(tmp_path):
    """A folder of copies that a test may damage."""
    shutil.copytree(IDLE, tmp_path / "idle")
    return tmp_path / "idle"


def refused(folder):
    with pytest.raises(InputError) as caught:
        observe(folder)
    (problem,) = caught.value.problems
    return problem


def test_f11_6_marks_are_printed_with_the_boost():
    (zone,) = parse_zoneinfo(lines(BOOSTED))
    assert [zone.values[name] for name in ("boost", "min", "low", "high")] == [512, 768, 832, 896]
    assert [(p.cpu, p.count, p.high, p.batch) for p in zone.pcps] == [(0, 7, 300, 63)]


def test_types_are_read_by_their_names():
    head = "Number of blocks type     Movable    Isolate   Unmovable \n"
    cells = "1 2 3 4 5 6 7 8 9 10 >100000"
    text = f"Node    0, zone      DMA, type    Movable {cells}\n{head}Node 0, zone DMA 5 1 2\n"
    zone = parse_pagetypeinfo(lines(text))[0, "DMA"]
    assert zone.free[Migratetype.MOVABLE].tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, -1]
    blocks = {Migratetype.MOVABLE: 5, Migratetype.ISOLATE: 1, Migratetype.UNMOVABLE: 2}
    assert {kind: zone.blocks[kind] for kind in blocks} == blocks


def test_a_folder_says_zones_marks_types_and_blocks():
    assert is_folder_of_copies(IDLE)
    seen = observe(IDLE)
    assert [(z.node, z.zone_type) for z in seen.zones][-2:] == [
        (1, ZoneType.NORMAL),
        (1, ZoneType.MOVABLE),
    ]
    assert len(seen.system.blocks) == 16
    assert len(seen.flags) == 1441792
    for zone in seen.zones:
        assert (zone.free_of_type.sum(axis=0) == zone.free).all()
        assert zone.pageblocks.sum() * 512 >= zone.present


def test_where_files_disagree_buddyinfo_wins_and_it_is_said(copies):
    text = (copies / "pagetypeinfo.txt").read_text()
    row = next(line for line in text.split("\n") if "DMA32, type      Movable" in line)
    words = row.split()
    changed = row.replace(f" {words[-1]} ", f" {int(words[-1]) + 3} ")
    (copies / "pagetypeinfo.txt").write_text(text.replace(row, changed))
    seen = observe(copies)
    assert any("DMA32: pagetypeinfo" in said and "order 10" in said for said in seen.differences)
    zone = next(z for z in seen.zones if z.zone_type == ZoneType.DMA32)
    assert (zone.free_of_type.sum(axis=0) == zone.free).all()


def test_what_cannot_be_read_is_said(copies):
    (copies / "kpageflags.bin.gz").unlink()
    (copies / "pagetypeinfo.txt").write_text("")
    seen = observe(copies)
    assert seen.flags is None
    assert seen.zones[0].pageblocks is None
    said = " ".join(seen.missing)
    assert "/proc/kpageflags is not there" in said
    assert "/proc/pagetypeinfo is empty or only root can read it" in said


def test_copies_may_lie_as_in_the_file_system(tmp_path):
    (tmp_path / "proc").mkdir()
    for name in ("buddyinfo", "zoneinfo"):
        shutil.copy(IDLE / f"{name}.txt", tmp_path / "proc" / name)
    memory = tmp_path / "sys/devices/system/memory/memory36"
    node = tmp_path / "sys/devices/system/node/node1"
    (node / "memory36").mkdir(parents=True)
    (node / "cpulist").write_text("0-1\n")
    (node / "distance").write_text("10\n")
    memory.mkdir(parents=True)
    (memory / "state").write_text("online\n")
    (memory / "valid_zones").write_text("Normal\n")
    system = observe(tmp_path).system
    assert system.blocks == ((36, 1, True, "Normal"),)
    assert system.cpu_node == (1, 1)


@pytest.mark.parametrize(
    ("name", "keep", "says"),
    [
        ("buddyinfo.txt", 2, "has no line for node 0, zone Normal"),
        ("buddyinfo.txt", 0, "is empty"),
        ("zoneinfo.txt", 150, "does not say start_pfn of node 0, zone Normal"),
        ("zoneinfo.txt", 48, "does not say"),
        ("zoneinfo.txt", 219, "says nothing of node 1, zone Movable"),
        ("pagetypeinfo.txt", 15, "says nothing of the pageblocks of node 0"),
    ],
)
def test_a_truncated_copy_is_told_what_is_missing(copies, name, keep, says):
    text = (copies / name).read_text()
    (copies / name).write_text("".join(text.splitlines(keepends=True)[:keep]))
    problem = refused(copies)
    assert says in problem.message
    assert name in problem.path


@pytest.mark.parametrize("name", ["buddyinfo.txt", "zoneinfo.txt", "pagetypeinfo.txt"])
def test_a_copy_that_ends_amid_a_line_is_refused_there(copies, name):
    text = (copies / name).read_text()
    (copies / name).write_text(text[:-2])
    problem = refused(copies)
    assert (problem.message, problem.line) == ("ends amid a line", text.count("\n"))


def test_a_truncated_table_of_blocks_is_told_where(copies):
    path = copies / "memory_blocks.csv"
    path.write_text(path.read_text()[:120])
    assert refused(copies).message == "expected block, node, state and valid_zones"


def test_truncated_flags_are_told_where_memory_ends(copies):
    words = np.zeros(0x120000, "<u8")
    (copies / "kpageflags.bin.gz").write_bytes(gzip.compress(words.tobytes(), 1))
    assert "ends with page 0x11ffff, memory with page 0x15ffff" in refused(copies).message


def test_a_missing_file_that_is_needed_is_named(copies):
    (copies / "zoneinfo.txt").unlink()
    assert "/proc/zoneinfo" in refused(copies).message


def test_text_of_a_file_cannot_steer_the_terminal(copies):
    (copies / "buddyinfo.txt").write_text("Node 0, zone \x1b[31mred\n")
    assert "\x1b" not in str(refused(copies))


def test_kernels_with_other_orders_are_refused():
    with pytest.raises(InputError, match="found 3 numbers of free blocks, expected 11"):
        parse_buddyinfo(lines("Node 0, zone   Normal 1 2 3\n"))
