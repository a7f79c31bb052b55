"""Several trials at a time, in processes that nothing but the run's results leave.

Each process has a pipe of its own: when one is killed, it is known which trial it had, no lock
stays taken, and the others go on. (The pool of ``concurrent.futures`` ends all its processes when
one dies.) A pipe that is closed tells a process to stop.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess

from memsim.errors import TrialError
from memsim.execute.executors import How
from memsim.execute.task import Done, Stopped, lost
from memsim.execute.watch import Watcher
from memsim.execute.worker import pack, rarely, unpack, work
from memsim.scenario import Trial

END_SECONDS = 2.0
"""What processes have to end by themselves when the run ends."""
STILLBORN = 3
"""So many processes may end before they begin."""
_spawn = multiprocessing.get_context("spawn")


def carry_out_all(trials: Iterator[Trial], how: How, watcher: Watcher) -> Generator[Done]:
    """Carry out ``how.jobs`` trials at a time.

    A trial whose process is killed runs again when the others are done, alone; if it ends its
    process again, it has failed.
    """
    crew = _Crew(how, watcher)
    suspects: list[Trial] = []
    try:
        for trial, done in crew.carry_out(trials, how.jobs):
            if isinstance(done, Done):
                yield done
            else:
                suspects.append(trial)
        for trial, done in crew.carry_out(iter(suspects), 1):
            yield done if isinstance(done, Done) else lost(trial, f"its process ended: {done}", "")
    finally:
        crew.dismiss()


@dataclass
class _Worker:
    """A process, and its trial if it has one."""

    process: SpawnProcess
    pipe: Connection
    trial: Trial | None = None
    ready: bool = False


class _Crew:
    """The processes of a run."""

    def __init__(self, how: How, watcher: Watcher) -> None:
        self._how = how
        self._watcher = watcher
        self._workers: dict[Connection, _Worker] = {}
        self._hired = 0
        self._stillborn = 0

    def carry_out(self, trials: Iterator[Trial], jobs: int) -> Iterator[tuple[Trial, Done | str]]:
        """Yield what became of each trial, or how its process ended before."""
        while True:
            for trial in islice(trials, jobs - len(self._busy())):
                self._begin(trial)
            busy = self._busy()
            if not busy:
                return
            for pipe in wait(busy):
                worker = self._workers[pipe]  # type: ignore[index]
                assert worker.trial is not None
                found = self._hear(worker, worker.trial)
                if found is not None:
                    yield found

    def _busy(self) -> list[Connection]:
        return [pipe for pipe, worker in self._workers.items() if worker.trial is not None]

    def _begin(self, trial: Trial) -> None:
        idle = (worker for worker in self._workers.values() if worker.trial is None)
        worker = next(idle, None) or self._hire()
        worker.trial = trial
        self._watcher.begins(trial, worker.process.name)
        # A process that is gone is noticed when it is listened to.
        with suppress(OSError):
            worker.pipe.send(pack(trial, check=self._how.check))

    def _hire(self) -> _Worker:
        ours, theirs = _spawn.Pipe()
        name = f"process-{self._hired}"
        process = _spawn.Process(target=_serve, args=(theirs, name), name=name, daemon=True)
        with not_interrupted():
            process.start()
            self._workers[ours] = _Worker(process, ours)
        theirs.close()
        self._hired += 1
        return self._workers[ours]

    def _hear(self, worker: _Worker, trial: Trial) -> tuple[Trial, Done | str] | None:
        """Take what a worker says; None if its trial goes on."""
        try:
            said = worker.pipe.recv()
        except (EOFError, OSError):
            return trial, self._bury(worker)
        worker.ready = True
        if isinstance(said, bytes):
            worker.trial = None
            return trial, unpack(trial, said)
        if said is not None:
            self._watcher.advances(trial, said)
        return None

    def _bury(self, worker: _Worker) -> str:
        """Take note of a process that is gone; say how it ended."""
        del self._workers[worker.pipe]
        worker.pipe.close()
        worker.process.join(END_SECONDS)
        worker.process.kill()
        worker.process.join()
        code = worker.process.exitcode or 0
        worker.process.close()
        self._stillborn = 0 if worker.ready else self._stillborn + 1
        if self._stillborn == STILLBORN:
            hint = 'in a script, call memsim below: if __name__ == "__main__":'
            raise TrialError(f"worker processes end before they begin\n  hint: {hint}")
        if code < 0:
            return f"{signal.Signals(-code).name}: killed, or out of memory"
        return f"exit code {code}"

    def dismiss(self) -> None:
        """End all processes, whatever they do."""
        workers = list(self._workers.values())
        for worker in workers:
            worker.pipe.close()
        due = time.monotonic() + END_SECONDS
        for worker in workers:
            worker.process.join(max(0.0, due - time.monotonic()))
            worker.process.kill()
            worker.process.join()
            worker.process.close()


@contextmanager
def not_interrupted() -> Iterator[None]:
    """Let processes and threads begin that do not hear Ctrl-C: it is the runner that ends them."""
    # It takes the block away when it starts.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(pipe: Connection, name: str) -> None:
    """Carry out trials, one after the other, for as long as the runner lives and listens."""
    threading.Thread(target=_end_with_runner, daemon=True).start()
    with suppress(OSError, EOFError, Stopped):
        pipe.send(None)
        while True:
            pipe.send(work(pipe.recv(), name, _ticking(pipe)))


def _ticking(pipe: Connection) -> Callable[[float], None]:
    tell = rarely(pipe.send)

    def tick(share: float) -> None:
        try:
            if pipe.poll():
                raise Stopped
            tell(share)
        except OSError:
            raise Stopped from None

    return tick


def _end_with_runner() -> None:
    runner = multiprocessing.parent_process()
    assert runner is not None
    runner.join()
    os._exit(1)
