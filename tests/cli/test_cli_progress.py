"""What a terminal shows while trials are carried out."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console
from trials import SMALL, small

from memsim.cli._display import display, duration_text
from memsim.cli._progress import Progress
from memsim.errors import InputError
from memsim.execute import Done, Planned
from memsim.results.store import Kept
from memsim.simulate import TrialResult

OK = TrialResult("ok", events=3_000_000)


def shown(progress, now=0.0, height=40):
    """What a terminal of 120 columns shows, without its control sequences."""
    console = Console(file=StringIO(), force_terminal=True, width=120, height=height)
    console.print(display(progress, now, height))
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", console.file.getvalue())


def watching(kept=0, **options):
    """A progress, and its trials, of which the first are kept."""
    trials = list(small(seeds="1..4", **options).trials())
    progress = Progress()
    done = Kept(OK, 1.0)
    progress.planned([Planned(t, done if n < kept else None, "") for n, t in enumerate(trials)])
    return progress, trials


def test_trials_are_counted_by_what_became_of_them():
    progress, trials = watching(kept=2)
    assert "2/8 trials  2 kept" in shown(progress)
    for trial in trials[2:5]:
        progress.begins(trial, "")
    progress.ends(Done(trials[2], OK, 1.0))
    progress.ends(Done(trials[3], TrialResult("failed", "no"), 1.0))
    assert "4/8 trials  1 running  1 failed  2 kept" in shown(progress)
    assert (progress.done, progress.kept, len(progress.failures)) == (2, 2, 1)


def test_a_trial_begun_twice_runs_once():
    progress, trials = watching()
    progress.begins(trials[0], "a")
    progress.begins(trials[0], "b")
    assert "1 running" in shown(progress)
    assert progress.workers == {"a": None, "b": trials[0]}


def test_an_interrupt_that_was_swallowed_is_heard_when_a_trial_ends():
    progress, trials = watching()
    progress.interrupted = True
    with pytest.raises(KeyboardInterrupt):
        progress.ends(Done(trials[0], OK, 1.0))
    assert progress.done == 1


def test_rounds_add_up():
    progress, trials = watching()
    progress.begins(trials[0], "")
    progress.ends(Done(trials[0], OK, 1.0))
    progress.planned([Planned(trial, Kept(OK, 1.0), "") for trial in trials])
    assert (progress.done, progress.kept, progress.trials) == (1, 7, 8)


def test_rates_are_said_when_they_are_known():
    progress, trials = watching(kept=4)
    assert "left" not in shown(progress, 9.0)
    progress.begins(trials[4], "")
    progress.began = 100.0
    progress.advances(trials[4], 0.01)
    assert "left" not in shown(progress, 101.0)
    progress.advances(trials[4], 0.5)
    assert "35 s left" in shown(progress, 105.0)
    assert "events/s" not in shown(progress, 105.0)
    progress.ends(Done(trials[4], OK, 10.0))
    assert "0.3 M events/s  30 s left" in shown(progress, 110.0)


def test_each_worker_has_a_line():
    progress, trials = watching()
    progress.begins(trials[0], "process-1")
    progress.begins(trials[1], "process-0")
    progress.advances(trials[1], 0.42)
    progress.ends(Done(trials[0], OK, 1.0, "process-1"))
    lines = [line.split() for line in shown(progress).splitlines()[1:]]
    assert lines[0] == ["process-0", "0", "done", "42", "%", "none,", "seed", "2"]
    assert lines[1] == ["process-1", "1", "done", "idle"]


def test_numbered_workers_stand_in_order():
    progress, trials = watching()
    for name, trial in zip(("10", "9"), trials, strict=False):
        progress.begins(trial, name)
    lines = [line.strip() for line in shown(progress).splitlines()[1:]]
    assert lines[0].startswith("worker 9 ") and lines[1].startswith("worker 10 ")


def test_the_clock_starts_when_a_trial_gets_on():
    progress, trials = watching()
    progress.begins(trials[0], "")
    assert progress.began is None
    progress.advances(trials[0], 0.1)
    assert progress.began is not None
    other, trials = watching()
    other.ends(Done(trials[0], OK, 1000.0))
    assert progress.began - other.began > 900


def test_workers_that_do_not_fit_are_counted():
    progress, trials = watching()
    for n, trial in enumerate(trials):
        progress.begins(trial, f"worker-{n}")
    text = shown(progress, height=7)
    assert "worker-2" in text and "worker-3" not in text
    assert "and 5 more workers" in text


def test_trials_without_a_named_worker_have_no_line():
    progress, trials = watching()
    progress.begins(trials[0], "")
    assert len(shown(progress).splitlines()) == 1


def test_names_are_escaped():
    progress, trials = watching()
    odd = replace(trials[0], point=(("a", "[red]b\x1b[31m\u202e"),))
    progress.begins(odd, "tcp://[bold]x\x1b]0;y\x07")
    (line,) = shown(progress).splitlines()[1:]
    assert "tcp://[bold]x\\x1b]0;y\\x07" in line
    assert "none, [red]b\\x1b[31m\\u202e, seed 1" in line


def test_bugs_are_told_from_bad_input():
    progress, trials = watching()
    for trial, error in zip(trials, (KeyError("bug"), InputError([]), None), strict=False):
        progress.ends(Done(trial, TrialResult("failed", "x"), 1.0, "", error))
    assert [type(bug) for bug in progress.bugs] == [KeyError]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.2, "0 s"), (59.4, "59 s"), (60, "1 min 0 s"), (3725, "1 h 2 min"), (-1, "0 s")],
)
def test_times_are_written_with_two_units(seconds, text):
    assert duration_text(seconds) == text


def test_a_terminal_shows_progress_and_a_pipe_does_not(tmp_path):
    (tmp_path / "small.yaml").write_text(SMALL)
    command = [sys.executable, "-c", "from memsim.cli import main; main()", "run", "small.yaml"]
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    environment = {**os.environ, "TERM": "xterm-256color"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, cwd=tmp_path, env=environment
    ) as running:
        os.close(theirs)
        seen = b"".join(iter(lambda: _read(ours), b""))
    os.close(ours)
    assert running.returncode == 0
    assert b"simulating" in seen and b"trials" in seen
    piped = subprocess.run(command, capture_output=True, cwd=tmp_path)
    assert (piped.returncode, piped.stderr) == (0, b"")


def _read(terminal):
    try:
        return os.read(terminal, 1 << 16)
    except OSError:  # what Linux says when the other end is closed
        return b""
