"""The one function behind which all executors stand."""

from __future__ import annotations

import importlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from memsim.execute.task import Done
from memsim.scenario import Trial

if TYPE_CHECKING:
    from memsim.execute.watch import Watcher

Executor = Literal["serial", "threads", "processes", "dask"]
EXECUTORS: tuple[Executor, ...] = get_args(Executor)
_FILES = {"dask": "dask_cluster"}


@dataclass(frozen=True)
class How:
    """How trials are carried out; no result depends on it."""

    executor: Executor = "serial"
    jobs: int = 1
    """Trials at a time, on this computer."""
    check: bool = False
    """Verify the allocator's invariants on the way."""
    scheduler: str = ""
    """Address of a Dask scheduler; without one, dask means a cluster on this computer."""
    insecure: bool = False
    """A scheduler elsewhere may be spoken to without TLS."""
    trial_bytes: int = 0
    """Memory that one trial needs, if it is known."""


def carry_out_all(trials: Iterator[Trial], how: How, watcher: Watcher) -> Generator[Done]:
    """Carry out trials; yields them as they end.

    A trial is drawn from the iterator when there is room for it. The watcher hears of beginnings
    and progress. When the caller stops asking (closes the generator), running trials end at their
    next batch.
    """
    name = _FILES.get(how.executor, how.executor)
    module = importlib.import_module(f"memsim.execute.{name}")
    found: Generator[Done] = module.carry_out_all(trials, how, watcher)
    return found
