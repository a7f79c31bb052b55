"""What a process, here or elsewhere, does with a trial that it is sent.

A trial travels as bytes, so that what is wrong with it is found where it can be said. The worker
makes sure that it simulates what the runner meant: it names the trial anew, by its own sources.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import NamedTuple

from memsim import plugins
from memsim.errors import InputError, Problem
from memsim.execute.task import Done, attempt, simulated
from memsim.scenario import Scenario, Trial
from memsim.simulate import TrialResult

PROGRESS_SECONDS = 0.2
"""Between two words on how far a trial has come."""
Sources = tuple[tuple[str, bytes], ...]
"""Path as it was given, and content, of each plug-in from outside."""


class Parcel(NamedTuple):
    """A trial on its way to a worker."""

    trial: Trial
    name: str
    check: bool
    folder: str
    """Where the runner is: what relative paths are relative to."""
    plugins: Sources


def pack(trial: Trial, *, check: bool) -> bytes:
    """Write down a trial with all that a worker on another computer lacks."""
    sources = tuple((file.path, file.source) for file in plugins.loaded())
    return pickle.dumps(Parcel(replace(trial), trial.name, check, os.getcwd(), sources))


def unpack(trial: Trial, answer: bytes) -> Done:
    """Read what a worker has made of a trial."""
    return Done(trial, *pickle.loads(answer))


def work(packed: bytes, worker: str, tick: Callable[[float], None]) -> bytes:
    """Carry out a trial that ``pack`` has written; return what ``unpack`` reads.

    ``tick`` may raise Stopped, which passes.
    """
    try:
        parcel: Parcel = pickle.loads(packed)
    except Exception:
        refusal = _other_sources(worker)
        return pickle.dumps((TrialResult("failed", str(refusal)), 0.0, worker, refusal))

    def checked() -> TrialResult:
        with _plugins.in_use(parcel.plugins):
            trial = _here(parcel, worker)
            return simulated(trial, check=parcel.check, tick=tick, worker=worker)

    done = attempt(parcel.trial, checked, worker)
    return pickle.dumps((done.result, done.seconds, worker, _portable(done.error)))


def rarely(tell: Callable[[float], None]) -> Callable[[float], None]:
    """Let only one word on progress in PROGRESS_SECONDS pass, and that all is done."""
    due = time.monotonic()

    def tick(share: float) -> None:
        nonlocal due
        if share >= 1 or time.monotonic() >= due:
            due = time.monotonic() + PROGRESS_SECONDS
            tell(share)

    return tick


def _portable(error: Exception | None) -> Exception | None:
    """Return what another process can read for certain, with the trace-back that stays behind."""
    if error is None or type(error).__module__.startswith("memsim."):
        return error
    if isinstance(error, InputError):
        return InputError(error.problems)
    copy = RuntimeError(f"{type(error).__name__}: {error}")
    copy.add_note("in a worker:\n" + "".join(traceback.format_exception(error)))
    return copy


def _here(parcel: Parcel, worker: str) -> Trial:
    """Return the trial as this process sees it; raises InputError if that is another."""
    sent = parcel.trial.scenario
    # Digests that the runner has computed came along: all but the fields is left behind.
    fields = {name: getattr(sent, name) for name in Scenario.model_fields}
    if parcel.folder != os.getcwd():
        fields["directory"] = os.path.join(parcel.folder, sent.directory)
    scenario = Scenario.model_construct(sent.model_fields_set, **fields)
    trial = replace(parcel.trial, scenario=scenario)
    if trial.name != parcel.name:
        raise _other_sources(worker)
    return trial


def _other_sources(worker: str) -> InputError:
    message = "has other sources of memsim or another numpy than the computer of the run"
    hint = "install the same memsim and numpy there, and start the worker again"
    return InputError([Problem(f"worker {worker}", 0, 0, message, hint)])


class _Plugins:
    """The plug-ins from outside that trials of this process use: one set at a time."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._users = 0
        self._sources: Sources = ()
        self._entered = ExitStack()

    @contextmanager
    def in_use(self, sources: Sources) -> Iterator[None]:
        """Have these and no others; waits for trials that use another set."""
        with self._changed:
            self._changed.wait_for(lambda: sources == self._sources or not self._users)
            if sources != self._sources:
                self._enter(sources)
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    def _enter(self, sources: Sources) -> None:
        self._sources = ()
        # What the last set leaves behind is not the fault of the next.
        with suppress(InputError):
            self._entered.close()
        if sources:
            given = dict(sources)
            self._entered.enter_context(plugins.outside(tuple(given), given))
        self._sources = sources


_plugins = _Plugins()
