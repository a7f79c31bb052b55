"""Runs that are disturbed: killed, interrupted, doubled, out of room; and the runs after them."""

import errno
import json
import os
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from trials import SMALL

from memsim.cli import _how, main
from memsim.cli._progress import Progress
from memsim.execute import task
from memsim.results.store import TRIALS
from memsim.simulate import TrialResult, simulate

LONGER = SMALL.replace("5000/s", "200000/s").replace("100ms", "500ms").replace("1..2", "1..6")
"""A dozen trials of a tenth of a second and more."""
MEMSIM = [sys.executable, "-c", "from memsim.cli import main; main()", "run"]
PATIENCE = 120


@pytest.fixture
def desk(tmp_path, monkeypatch):
    """A folder with two scenarios, to work in."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small.yaml").write_text(SMALL)
    (tmp_path / "longer.yaml").write_text(LONGER)
    return tmp_path


def memsim(*args):
    return CliRunner().invoke(main, ["run", *args])


def begin(*args, **options):
    """Start a run in a process of its own."""
    return subprocess.Popen(
        [*MEMSIM, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **options
    )


def kept_files(root):
    return sorted(p for p in (Path(root) / TRIALS).glob("*/*.json") if p.name[0] != ".")


def stamps(files):
    return {path: path.stat().st_mtime_ns for path in files}


def tables(root):
    """The bytes of all files of finished runs but the manifests, by run and name."""
    manifests = Path(root).glob("*/*/manifest.json")
    return {
        (path.parent.name, file.name): file.read_bytes()
        for path in manifests
        for file in path.parent.iterdir()
        if file != path
    }


def drafts(root):
    return [p for p in Path(root).rglob(".*") if p.is_file()]


def wait_for(condition, process):
    due = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < due
        time.sleep(0.01)


@pytest.mark.parametrize("executor", ["threads", "processes"])
def test_a_killed_run_goes_on_where_it_was(desk, executor):
    how = ("--executor", executor, "--jobs", "2")
    running = begin("longer.yaml", *how)
    with running:
        wait_for(lambda: len(kept_files("results")) >= 3, running)
        running.kill()
    before = stamps(kept_files("results"))
    assert 3 <= len(before) < 12
    assert tables("results") == {}
    (folder,) = (desk / "results/small").iterdir()
    assert (folder / "unfinished.json").exists()
    again = memsim("longer.yaml", *how)
    assert again.exit_code == 0, again.output
    assert len(kept_files("results")) == 12
    assert stamps(before) == before
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["kept_trials"] == len(before)
    assert not (folder / "unfinished.json").exists()
    assert memsim("longer.yaml", "--out", "whole").exit_code == 0
    assert tables("results") == tables("whole") != {}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_a_run_with_the_command_to_go_on(desk, number):
    running = begin("longer.yaml", "--jobs", "1")
    with running:
        wait_for(lambda: len(kept_files("results")) > 1, running)
        running.send_signal(number)
        _, said = running.communicate(timeout=PATIENCE)
    assert running.returncode == 130, said
    kept = len(kept_files("results"))
    first = re.match(
        r"interrupted: (\d+) more of 12 trials are finished and kept below results", said
    )
    # The signal may come between keeping a trial and counting it.
    assert kept - 1 <= int(first[1]) <= kept < 12
    assert said.endswith("; to go on:\n  memsim run longer.yaml --jobs 1\n")
    assert "Traceback" not in said
    assert drafts("results") == []


def test_a_second_signal_ends_the_process_at_once(monkeypatch):
    ended = []
    monkeypatch.setattr(os, "_exit", ended.append)
    before = signal.getsignal(signal.SIGTERM)
    with _how._interruptible(Progress()):
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert ended == []
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
        assert ended == [130]
    assert signal.getsignal(signal.SIGTERM) is before


def test_two_runners_in_one_folder_are_both_correct(desk):
    seeds = ("1..6", "1..6", "4..8")
    runners = [begin("longer.yaml", "--jobs", "1", "--seeds", text) for text in seeds]
    for runner in runners:
        _, said = runner.communicate(timeout=PATIENCE)
        assert runner.returncode == 0, said
    for text in seeds[1:]:
        assert memsim("longer.yaml", "--seeds", text, "--out", "alone").exit_code == 0
    assert tables("results") == tables("alone")
    assert [p.name for p in kept_files("results")] == [p.name for p in kept_files("alone")]
    assert drafts("results") == []


def test_drafts_of_a_killed_run_do_not_disturb(desk):
    assert memsim("small.yaml", "--out", "whole").exit_code == 0
    file = kept_files("whole")[0].relative_to("whole")
    draft = desk / "results" / file.with_name(f".{file.name}.123.0badcafe")
    draft.parent.mkdir(parents=True)
    draft.write_bytes(b'{"schema')
    assert memsim("small.yaml").exit_code == 0
    assert tables("results") == tables("whole")
    assert draft.read_bytes() == b'{"schema'


def fails_for(monkeypatch, policy, seed, reason="not today"):
    """Have one trial fail until the patch is undone."""

    def sometimes(trial, **options):
        if (trial.policy, trial.seed) == (policy, seed):
            return TrialResult("failed", reason)
        return simulate(trial, **options)

    monkeypatch.setattr(task, "simulate", sometimes)


def again_commands(said):
    return [
        shlex.split(line.strip().removeprefix("again: memsim run "))
        for line in said.splitlines()
        if line.startswith("  again: ")
    ]


def test_a_failed_trial_is_mended_by_its_command(desk, monkeypatch):
    axes = "axes:\n  policies.none.cmdline: [movablecore=8M, 'movablecore=16M']\n"
    (desk / "odd name's.yaml").write_text(SMALL + axes)
    given = ("odd name's.yaml", "--set", "workloads.app.anon=1 MiB", "--out", "my results")
    fails_for(monkeypatch, "mobility", 2)
    broken = memsim(*given)
    assert broken.exit_code == 3
    assert (
        "failed: policy mobility, policies.none.cmdline = movablecore=8M, seed 2: " in broken.stderr
    )
    commands = again_commands(broken.stderr)
    assert len(commands) == 2
    monkeypatch.undo()
    monkeypatch.chdir(desk)
    before = stamps(kept_files("my results"))
    for n, command in enumerate(commands, 1):
        assert memsim(*command).exit_code == 0, command
        after = stamps(kept_files("my results"))
        assert set(after) == set(before)
        assert sum(after[path] != before[path] for path in before) == n
    why = memsim(*given, "--why").stdout
    assert "8 kept" in why and "0 to run" in why
    assert memsim(*given).exit_code == 0
    whole = memsim(*given[:-1], "whole")
    assert whole.exit_code == 0
    assert tables("whole").items() <= tables("my results").items()


def test_fail_fast_stops_at_the_first_failure(desk, monkeypatch):
    fails_for(monkeypatch, "none", 2)
    result = memsim("small.yaml", "--executor", "serial", "--fail-fast")
    assert result.exit_code == 3
    assert "failed: policy none, seed 2: not today" in result.stderr
    assert "stopped: policy none, seed 2: not today" in result.stderr
    assert len(again_commands(result.stderr)) == 1
    assert tables("results") == {}
    assert len(kept_files("results")) == 2
    whole = memsim("small.yaml")
    assert whole.exit_code == 3
    assert whole.stderr.count("failed: ") == 1
    assert len(kept_files("results")) == 4


def test_a_failure_shows_no_control_characters(desk, monkeypatch):
    fails_for(monkeypatch, "none", 1, "bad \x1b[31m\u202e news")
    result = memsim("small.yaml")
    assert "bad \\x1b[31m\\u202e news" in result.stderr


POLICY = """
from memsim.policies.none import Policy as Ungrouped

class Policy(Ungrouped):
    '''One type, as none.'''
"""
MOBILITY = POLICY.replace("policies.none", "policies.mobility")


def test_an_edited_policy_runs_again(desk):
    (desk / "mine.py").write_text(POLICY)
    (desk / "mine.yaml").write_text(SMALL.replace("{placement: none}", "{placement: mine}"))
    options = ("mine.yaml", "--plugin", "mine.py")
    first = memsim(*options)
    assert first.exit_code == 0, first.output
    (desk / "mine.py").write_text(MOBILITY)
    why = memsim(*options, "--why").stdout
    assert why.count("engine changed since results/small/") == 2 and "2 kept" in why
    second = memsim(*options, "--format", "json")
    rows = json.loads(second.stdout)["rows"]
    assert all(row["means"]["none"] == row["means"]["mobility"] for row in rows)
    (desk / "mine.py").write_text(POLICY)
    assert "4 kept" in memsim(*options, "--why").stdout
    assert memsim(*options).stdout == first.stdout


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_what_cannot_be_written_is_one_line_and_leaves_nothing_half_done(desk, monkeypatch, code):
    assert memsim("small.yaml", "--seeds", "1").exit_code == 0
    before, kept = tables("results"), stamps(kept_files("results"))
    whole = Path.write_bytes
    written = []

    def runs_out(path, content):
        if path.name.startswith(".") and len(written) == 2:
            whole(path, content[: len(content) // 2])
            raise OSError(code, os.strerror(code))
        written.append(path)
        return whole(path, content)

    monkeypatch.setattr(Path, "write_bytes", runs_out)
    result = memsim("small.yaml", "--seeds", "1..3")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert f"cannot be written: {os.strerror(code)}" in result.stderr
    assert drafts("results") == []
    monkeypatch.undo()
    monkeypatch.chdir(desk)
    assert tables("results") == before
    assert stamps(kept) == kept
    assert memsim("small.yaml", "--seeds", "1..3").exit_code == 0


def test_a_limit_on_file_sizes_is_one_line(desk):
    limit = 2000

    def limited():
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = subprocess.run(
        [*MEMSIM, "small.yaml"],
        capture_output=True,
        text=True,
        preexec_fn=limited,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    assert result.returncode == 2, result.stderr
    assert "cannot be written: File too large" in result.stderr
    assert drafts("results") == []


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        pytest.skip("needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_one_line(desk, small_disk):
    out = small_disk / "results"
    assert memsim("small.yaml", "--seeds", "1", "--out", str(out)).exit_code == 0
    before = tables(out)
    free = os.statvfs(small_disk).f_bavail * os.statvfs(small_disk).f_frsize
    (small_disk / "filler").write_bytes(bytes(max(free - 20_000, 0)))
    result = memsim("small.yaml", "--seeds", "1..9", "--out", str(out))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "cannot be written: No space left on device" in result.stderr
    assert tables(out) == before
    assert drafts(out) == []
    (small_disk / "filler").unlink()
    assert memsim("small.yaml", "--seeds", "1..9", "--out", str(out)).exit_code == 0


def test_a_read_only_folder_is_one_line_and_is_still_read(desk, small_disk):
    out = small_disk / "results"
    assert memsim("small.yaml", "--out", str(out)).exit_code == 0
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    assert memsim("small.yaml", "--out", str(out)).exit_code == 0
    result = memsim("small.yaml", "--seeds", "7", "--out", str(out))
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "cannot be written: " in result.stderr


@pytest.mark.parametrize("place", [f"{TRIALS}", "small"])
def test_links_out_of_the_results_are_refused(desk, place):
    (desk / "elsewhere").mkdir()
    (desk / "results").mkdir()
    (desk / "results" / place).symlink_to(desk / "elsewhere")
    result = memsim("small.yaml")
    assert result.exit_code == 2
    assert "symbolic link" in result.stderr
    assert list((desk / "elsewhere").iterdir()) == []
