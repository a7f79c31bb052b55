"""Pages of workloads in states that decide how they migrate: what explain says became of them."""

from errno import EAGAIN, EINVAL

import pytest
from trials import small

from memsim.errors import InputError
from memsim.explain.migrations import as_markdown, explain_migration
from memsim.memory.migrating_2005 import Fate
from memsim.mm import WhyStayed
from memsim.simulate import simulate
from memsim.simulate.retrace import retrace

TEXT = """
memsim: 1
name: page-states
duration: 80ms
seeds: 1
policies: {{p: {{placement: {placement}}}}}
machine:
  profile: {profile}
  nodes:
    - {{id: 0, cpus: 0-1, memory: 64MiB}}
    - {{id: 1, cpus: 2-3, memory: 64MiB}}
  swap: {{size: 16MiB}}
workloads:
  app: {{nodes: [1], grow: 10ms, {knobs}}}
events:
  - {{at: 40ms, do: migrate_pages, workload: app, from: [1], to: [0]{how}}}
"""
FILE = "kind: page_cache, size: 1MiB, churn: 0B/s"
PROCESS = "kind: process, anon: 1MiB"
NO_OPERATION = f"{FILE}, migratepage: false"


def trial(profile, knobs, how="", text=TEXT):
    placement = "none" if profile.startswith("linux-2.6") else "mobility"
    text = text.format(profile=profile, placement=placement, knobs=knobs, how=how)
    (found,) = small(text).trials()
    return found


def fates(found, pages):
    """Return (code or fate, attempts) of the pages that were to move, counted."""
    (moved,) = retrace(found).moved
    assert moved.row.attempted == pages
    what = moved.outcome
    codes = what.fate if hasattr(what, "fate") else what.codes
    tries = what.passes if hasattr(what, "passes") else abs(what.tries)
    return set(zip(codes.tolist(), tries.tolist(), strict=True)), moved.row.stayed


# Of 6.1: spec linux-mm 8.4 h and 8.5. A page whose lock or write is waited for moves in pass 3.
MODERN = {
    "ext4": (FILE, "", 0, 1, None),
    "dirty, moved as it is": (f"{FILE}, dirty: 100%", "", 0, 1, None),
    "tmpfs": (f"{FILE}, filesystem: tmpfs", "", 0, 1, None),
    "ramfs": (f"{FILE}, filesystem: ramfs", "", -EINVAL, 1, WhyStayed.NO_OPERATION),
    "clean without an operation": (NO_OPERATION, "", 0, 1, None),
    "written first": (f"{NO_OPERATION}, dirty: 100%", "", 0, 4, None),
    "buffers": (f"{FILE}, buffers: 100%", "", 0, 1, None),
    "buffers in use": (f"{FILE}, buffers_in_use: 100%", "", -EAGAIN, 10, WhyStayed.BUFFERS),
    "buffers of a disk": (
        "kind: buffers, size: 1MiB, churn: 0B/s, in_use: 100%", "", -EAGAIN, 10, WhyStayed.BUFFERS,
    ),
    "locked": (f"{FILE}, locked: 100%", "", 0, 4, None),
    "pinned": (f"{FILE}, pinned: {{term: short}}", "", -EAGAIN, 10, WhyStayed.PINNED),
    "shared, all are moved": (
        f"{FILE}, mapped: true, shared: 100%", ", move_all: true", 0, 1, None,
    ),
    "locked memory of a process": (f"{PROCESS}, locked: 100%", "", 0, 4, None),
    "mlocked": (f"{PROCESS}, mlocked: true", "", 0, 1, None),
}  # fmt: skip


@pytest.mark.parametrize("name", MODERN)
def test_each_state_comes_to_its_return_class(name):
    knobs, how, code, tries, why = MODERN[name]
    found = trial("linux-6.1", knobs, how)
    came_to, stayed = fates(found, 256)
    assert came_to == {(code, tries)}
    assert stayed == tuple(256 if why == reason else 0 for reason in WhyStayed)
    explained = explain_migration(found, 1)
    assert [(g.why, g.pages) for g in explained.stayed] == (
        [(why.name.lower(), 256)] if why is not None else []
    )


def test_shared_pages_are_left_alone_unless_all_are_to_move():
    found = trial("linux-6.1", f"{FILE}, mapped: true, shared: 100%")
    came_to, stayed = fates(found, 256)
    assert came_to == set() and stayed[WhyStayed.SHARED] == 256
    assert "256" in as_markdown(explain_migration(found, 1))


# Of 2005: spec history-2005 3.2, linux-mm 10.2 and F10.6.
OLD = {
    "ext4": (FILE, "", Fate.MOVED_DIRECT, 1),
    "dirty, moved as it is": (f"{FILE}, dirty: 100%", "", Fate.MOVED_DIRECT, 1),
    "tmpfs, written to swap first": (f"{FILE}, filesystem: tmpfs", "", Fate.MOVED_DIRECT, 2),
    "tmpfs of 2.6.16": (
        f"{FILE}, filesystem: tmpfs", ", code: linux-2.6.16", Fate.MOVED_DIRECT, 1,
    ),
    "ramfs": (f"{FILE}, filesystem: ramfs", "", Fate.FAILED_DIRTY, 11),
    "buffers that go along": (f"{FILE}, buffers_in_use: 100%", "", Fate.MOVED_DIRECT, 1),
    "buffers that are let go": (f"{NO_OPERATION}, buffers: 100%", "", Fate.MOVED_DIRECT, 1),
    "buffers in use": (f"{NO_OPERATION}, buffers_in_use: 100%", "", Fate.FAILED_BUFFERS, 11),
    "locked": (f"{FILE}, locked: 100%", "", Fate.MOVED_DIRECT, 4),
    "pinned": (f"{FILE}, pinned: {{}}", "", Fate.FAILED_PINNED, 11),
    "mlocked": (f"{PROCESS}, mlocked: true", "", Fate.FAILED_MLOCKED, 11),
    "shared": (f"{FILE}, mapped: true, shared: 100%", "", Fate.FAILED_SHARED, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", OLD)
def test_each_state_comes_to_its_fate_of_2005(name):
    knobs, how, fate, tries = OLD[name]
    came_to, _ = fates(trial("linux-2.6.14", knobs, how), 256)
    assert came_to == {(fate, tries)}


PRESSED = TEXT.replace(
    "events:",
    """  hog: {{kind: memory_hog, anon: 128MiB, start: 15ms, grow: 20ms}}
events:""",
)


@pytest.mark.parametrize("profile", ["linux-6.1", "linux-2.6.14"])
def test_reclaim_takes_pages_of_tmpfs_and_none_of_ramfs(profile):
    result = {}
    for filesystem in ("tmpfs", "ramfs"):
        knobs = f"kind: page_cache, size: 8MiB, churn: 0B/s, filesystem: {filesystem}"
        found = trial(profile, knobs, text=PRESSED)
        result[filesystem] = simulate(found, check=True)
    (in_tmpfs, in_ramfs) = (one.migrations[0].attempted for one in result.values())
    assert in_tmpfs < in_ramfs == 2048


@pytest.mark.parametrize(
    ("knobs", "message"),
    [
        ("filesystem: tmpfs, dirty: 10%", '"dirty" does not go with tmpfs'),
        ("filesystem: ramfs, migratepage: false", '"migratepage" does not go with ramfs'),
        ("shared: 10%", '"shared" goes with "mapped: true"'),
        ("filesystem: tmpf", "tmpfs"),
    ],
)
def test_files_that_make_no_sense_are_refused(knobs, message):
    with pytest.raises(InputError) as caught:
        trial("linux-6.1", f"{FILE}, {knobs}")
    (problem,) = caught.value.problems
    assert problem.line == 14 and message in str(problem)
