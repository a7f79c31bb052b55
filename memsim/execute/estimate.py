"""What a run will need, and how many trials this computer can carry out at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean

from memsim.errors import InputError, Problem
from memsim.execute.cost import trial_costs
from memsim.execute.executors import How
from memsim.execute.history import History
from memsim.execute.planning import Planned
from memsim.results.answer import size_text
from memsim.results.store import TrialStore
from memsim.scenario import Trial

PROCESS_BYTES = 240 << 20
"""Of a process with all its libraries and kernels, before its first trial."""
EVENTS_PER_SECOND = 2_500_000
"""Of one trial on one core, as far as nothing better is known."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
OWN_GROUPS = Path("/proc/self/cgroup")


def fitted(
    planned: Sequence[Planned], wanted: How, *, jobs: int | None, force: bool = False
) -> tuple[How, str]:
    """Say how to carry out what is planned so that memory suffices; and a note, or an empty text.

    ``wanted`` says all but the number of trials at a time: at the most ``jobs`` run, by default as
    many as there are cores. Raises InputError if not even one fits, unless ``force`` is set, with
    which ``jobs`` are not bounded. Nothing is where a scheduler has the trials carried out.
    """
    missing = [one.trial for one in planned if one.kept is None]
    each = max((cost.bytes for cost in trial_costs(missing).values()), default=0)
    most = jobs or max(min(_cores(), len(missing)), 1)
    how = replace(wanted, jobs=1 if wanted.executor == "serial" else most, trial_bytes=each)
    if wanted.scheduler or not missing:
        return how, ""
    available = available_bytes()
    room = _room(how, available)
    if room >= how.jobs or (force and jobs is not None):
        return how, ""
    one = size_text(needed_bytes(replace(how, jobs=1)))
    if room == 0 and not force:
        message = f"one trial needs about {one}, {size_text(available)} are available"
        hint = "make the machine or its load smaller, or try it all the same with --force"
        raise InputError([Problem("memory", 0, 0, message, hint)])
    note = f"{max(room, 1)} trials at a time, not {jobs}: one needs about {one} of memory"
    return replace(how, jobs=max(room, 1)), note if jobs is not None else ""


def _cores() -> int:
    """Return the cores that this process may use; where that is not known, all."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _room(how: How, available: int) -> int:
    """Return how many trials fit into memory."""
    if _is_apart(how):
        return available // (how.trial_bytes + PROCESS_BYTES)
    return max(available - PROCESS_BYTES, 0) // max(how.trial_bytes, 1)


def needed_bytes(how: How) -> int:
    """Return the memory of as many trials as run at a time, processes included."""
    return how.jobs * how.trial_bytes + (how.jobs if _is_apart(how) else 1) * PROCESS_BYTES


def _is_apart(how: How) -> bool:
    """Say whether each trial has a process of its own."""
    return how.executor in ("processes", "dask")


def available_bytes() -> int:
    """Return the memory that can still be taken: this computer's, or its container's if less."""
    import psutil

    free = int(psutil.virtual_memory().available)
    return min([free, *_rooms_of_groups(CONTROL_GROUPS, OWN_GROUPS)])


def _rooms_of_groups(root: Path, own: Path) -> Iterator[int]:
    """Yield what each control group above this process still allows, of version 2 and of 1."""
    try:
        lines = own.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, kinds, path = line.split(":", 2)
        if kinds == "":
            top, limit, used = root, "memory.max", "memory.current"
        elif "memory" in kinds.split(","):
            top, limit, used = root / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"
        else:
            continue
        group = top / path.strip("/")
        for folder in (group, *group.parents):
            if folder.is_relative_to(top):
                yield from _room_of_group(folder, limit, used)


def _room_of_group(folder: Path, limit: str, used: str) -> Iterator[int]:
    try:
        most, now = (folder / limit).read_text().strip(), int((folder / used).read_text())
        rows = (folder / "memory.stat").read_text().splitlines()
        stat = {key: int(count) for key, count in (row.split() for row in rows)}
    except (OSError, ValueError):
        return
    # The kernel gives back the cache of files before it refuses memory.
    cache = stat.get("total_inactive_file", stat.get("inactive_file", 0))
    if most.isdecimal():
        yield max(int(most) - now + cache, 0)


@dataclass(frozen=True)
class Forecast:
    """What a run will do and need."""

    run: int
    """Trials that run."""
    kept: int
    failed: int
    """Of those that run: they failed last time."""
    jobs: int
    trial_bytes: int
    """The most that one trial needs."""
    total_bytes: int
    """What all that run at a time need, processes included."""
    available_bytes: int
    """On this computer."""
    seconds: float
    """Wall time; where a scheduler has the trials carried out, of one worker."""
    source: str
    """What the time was taken from."""


def forecast(planned: Sequence[Planned], how: How, store: TrialStore, history: History) -> Forecast:
    """Say what it takes to carry out what is planned."""
    missing = [one.trial for one in planned if one.kept is None]
    known = _known_seconds(planned, store, history)
    unknown = [trial for trial in missing if not known[_place(trial)]]
    costs = trial_costs(unknown, events=True)
    seconds = [fmean(known[_place(trial)]) for trial in missing if known[_place(trial)]]
    seconds += [cost.events / EVENTS_PER_SECOND for cost in costs.values()]
    at_a_time = 1 if how.scheduler else min(how.jobs, _cores())
    return Forecast(
        run=len(missing),
        kept=len(planned) - len(missing),
        failed=sum(one.failed for one in planned),
        jobs=how.jobs,
        trial_bytes=how.trial_bytes,
        total_bytes=needed_bytes(how) if missing else 0,
        available_bytes=available_bytes(),
        seconds=max([sum(seconds) / at_a_time, *seconds]),
        source=_source(sum(map(len, known.values())), len(unknown), len(missing)),
    )


def _source(kept: int, guessed: int, trials: int) -> str:
    if guessed == trials:
        return "guessed" if trials else ""
    text = f"from {kept} kept trials"
    return f"{text}, guessed for {guessed} of {trials}" if guessed else text


def _place(trial: Trial) -> tuple[object, ...]:
    return trial.policy, trial.point


def _known_seconds(
    planned: Sequence[Planned], store: TrialStore, history: History
) -> dict[tuple[object, ...], list[float]]:
    """Return what trials took that were kept, by policy and axis point of those that run."""
    known: dict[tuple[object, ...], list[float]] = {
        _place(one.trial): [] for one in planned if one.kept is None
    }
    for one in planned:
        if one.kept is not None and _place(one.trial) in known:
            known[_place(one.trial)].append(one.kept.seconds)
    first = {_place(one.trial): one.trial for one in planned if one.kept is None}
    for place in (place for place, seconds in known.items() if not seconds):
        earlier = [store.named(name) for name in history.beside(first[place])]
        known[place] += [k.seconds for k in earlier if k is not None and k.result.status == "ok"]
    return known
