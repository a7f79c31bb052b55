"""A trial in the kernel's own formats: what its files in /proc and its tracer would have printed.

Each format stands in a file of its own. Those of /proc define ``text(memory)``; see also
``ftrace``, whose lines come while the trial is carried out.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator

from memsim.errors import InputError, Problem
from memsim.memory import Memory
from memsim.profiles import PROFILES
from memsim.scenario import Trial
from memsim.simulate.retrace import at_instant
from memsim.units import format_duration

PROC_FORMATS = ("buddyinfo", "pagetypeinfo", "vmstat", "zoneinfo")
FORMATS = ("ftrace", *PROC_FORMATS)
FORMATS_OF_2005 = ("buddyinfo", "vmstat")


def proc_text(memory: Memory, name: str) -> str:
    """Return what a file of /proc says of a memory; ``name`` is one of PROC_FORMATS."""
    text: str = importlib.import_module(f"memsim.export.{name}").text(memory)
    return text


def export(trial: Trial, form: str, instant_ns: int | None = None) -> Iterator[str]:
    """Carry out a trial to an instant (None: its end) and yield a format's text, piece by piece.

    Raises InputError for an instant after the end and for a format that the trial's kernel does
    not have, TrialError for a trial that cannot be carried out.
    """
    problems = []
    if instant_ns is not None and instant_ns > trial.scenario.duration:
        message = f"the trial ends after {format_duration(trial.scenario.duration)}"
        problems.append(Problem("--at", 0, 0, message))
    if PROFILES[trial.profile].mechanism == "linux-2.6.14" and form not in FORMATS_OF_2005:
        message = f"{trial.profile} has no {form}"
        problems.append(Problem("--format", 0, 0, message, " or ".join(FORMATS_OF_2005)))
    if problems:
        raise InputError(problems)
    if form == "ftrace":
        from memsim.export.ftrace import lines

        return lines(trial, instant_ns)
    return iter((proc_text(at_instant(trial, instant_ns), form),))
