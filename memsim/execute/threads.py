"""Several trials at a time, in threads: kernels and most of numpy release Python's lock."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from threading import Event, current_thread

from memsim.execute.executors import How
from memsim.execute.task import Done, Stopped, carry_out
from memsim.execute.watch import Watcher
from memsim.scenario import Trial


def carry_out_all(trials: Iterator[Trial], how: How, watcher: Watcher) -> Generator[Done]:
    """Carry out ``how.jobs`` trials at a time."""
    stop = Event()

    def one(trial: Trial) -> Done:
        def tick(share: float) -> None:
            if stop.is_set():
                raise Stopped
            watcher.advances(trial, share)

        worker = current_thread().name
        watcher.begins(trial, worker)
        return carry_out(trial, check=how.check, tick=tick, worker=worker)

    with ThreadPoolExecutor(how.jobs, thread_name_prefix="thread") as pool:
        running: set[Future[Done]] = set()
        try:
            while True:
                room = how.jobs - len(running)
                running |= {pool.submit(one, trial) for trial in islice(trials, room)}
                if not running:
                    return
                finished, running = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    yield future.result()
        finally:
            stop.set()
