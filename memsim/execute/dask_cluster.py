"""Trials on a Dask cluster: of processes on this computer, or of a scheduler elsewhere.

A trial is sent to a worker that has room for it, chosen here, for Dask knows nothing of what a
trial needs. Workers may come and go at any time.
"""

from __future__ import annotations

import ipaddress
import itertools
import logging
import re
import secrets
import time
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from memsim.errors import InputError, Problem, TrialError
from memsim.execute.executors import How
from memsim.execute.processes import not_interrupted
from memsim.execute.task import Done, Stopped, lost
from memsim.execute.watch import Watcher
from memsim.execute.worker import pack, rarely, unpack, work
from memsim.scenario import Trial

try:
    import dask
    import distributed
except ImportError:
    _hint = "pip install 'memsim[dask]'"
    raise InputError([Problem("dask", 0, 0, "distributed is not installed", _hint)]) from None

SILENCE = logging.CRITICAL + 1
ADDRESS = re.compile(
    r"(?P<protocol>tcp|tls)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):[0-9]{1,5}"
)
CONNECT_SECONDS = 10
WORKER_SECONDS = 60.0
"""How long a run waits for a first worker, or for another when the last has gone."""
LOOK_SECONDS = 1.0
"""Between two looks at which workers there are."""
MAX_LOSSES = 3
"""So many workers may end with a trial before it has failed."""


def carry_out_all(trials: Iterator[Trial], how: How, watcher: Watcher) -> Generator[Done]:
    """Carry out a trial at a time in each thread of each worker, as far as its memory goes.

    A trial whose worker is gone runs again on another. Raises InputError for a scheduler that
    cannot be had and for one without workers, TrialError if it is lost on the way.
    """
    first = list(itertools.islice(trials, 1))
    if not first:
        return
    with _connected(how) as client, closing(_Cluster(client, how, watcher)) as cluster:
        yield from cluster.carry_out(itertools.chain(first, trials))


@contextmanager
def _connected(how: How) -> Iterator[distributed.Client]:
    """Connect to the scheduler, or begin a cluster on this computer; quietly."""
    with distributed.utils.silence_logging_cmgr(SILENCE), ExitStack() as stack:
        if how.scheduler:
            where: Any = how.scheduler
            security = _security(how)
        else:
            where = stack.enter_context(_local_cluster(how.jobs))
            security = where.security
        try:
            client = distributed.Client(
                where, security=security, timeout=CONNECT_SECONDS, set_as_default=False
            )
        except (OSError, ValueError) as error:
            raise _refusal(how, f"no scheduler answers: {_one_line(error)}") from None
        with client:
            yield client


@contextmanager
def _local_cluster(workers: int) -> Iterator[distributed.LocalCluster]:
    with dask.config.set(_local_settings()):
        with not_interrupted():
            cluster = distributed.LocalCluster(
                n_workers=workers,
                threads_per_worker=1,
                processes=True,
                host="127.0.0.1",
                protocol="tcp://",
                security=distributed.Security(require_encryption=False),
                scheduler_kwargs={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                memory_limit=0,
                silence_logs=SILENCE,
            )
        with cluster:
            yield cluster


def _local_settings() -> dict[str, Any]:
    """Spare workers of our own what slows trials down.

    Dask lets malloc give memory back at once; asking for it again costs more than half a trial.
    """
    environment = dict(dask.config.get("distributed.nanny.pre-spawn-environ"))
    environment.pop("MALLOC_TRIM_THRESHOLD_", None)
    return {
        "distributed.nanny.pre-spawn-environ": environment,
        "distributed.worker.profile.enabled": False,
    }


def _security(how: How) -> distributed.Security | None:
    """Say how to speak to the scheduler; raises InputError if that would not be safe."""
    found = ADDRESS.fullmatch(how.scheduler)
    if found is None:
        raise _refusal(how, "is no address of a scheduler", "tcp://HOST:PORT or tls://HOST:PORT")
    if found["protocol"] == "tcp":
        if how.insecure or _is_loopback(found["host"].strip("[]")):
            return None
        hint = "use tls:// (docs/cluster.md), or --insecure in a network that you trust"
        raise _refusal(how, "anybody in between could read and change what is sent", hint)
    try:
        security = distributed.Security(require_encryption=True)
        ready = security.get_connection_args("client")["ssl_context"] is not None
        fault = "TLS is not configured"
    except (OSError, ValueError) as error:
        ready, fault = False, f"TLS is not configured well: {_one_line(error)}"
    if not ready:
        hint = "Dask's settings distributed.comm.tls.ca-file and .client.cert, see docs/cluster.md"
        raise _refusal(how, fault, hint)
    return security


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _refusal(how: How, message: str, hint: str = "") -> InputError:
    return InputError([Problem(how.scheduler or "--executor dask", 0, 0, message, hint)])


def _one_line(error: BaseException) -> str:
    return " ".join((str(error) or type(error).__name__).split())


@dataclass
class _Sent:
    """A trial that a worker has."""

    trial: Trial
    future: distributed.Future[bytes]
    worker: str
    """Its address; empty when it is known to be gone."""


class _Cluster:
    """The workers of a scheduler, and what this run has sent them."""

    def __init__(self, client: distributed.Client, how: How, watcher: Watcher) -> None:
        self._client = client
        self._how = how
        self._watcher = watcher
        self._topic = f"memsim-{secrets.token_hex(8)}"
        self._numbers = itertools.count()
        self._sent: dict[str, _Sent] = {}
        self._again: list[Trial] = []
        self._losses: dict[str, int] = {}
        self._workers: dict[str, dict[str, Any]] = {}
        self._unfit = False
        self._look_due = 0.0
        self._give_up = time.monotonic() + WORKER_SECONDS
        client.subscribe_topic(self._topic, self._hear)

    def carry_out(self, trials: Iterator[Trial]) -> Iterator[Done]:
        """Yield what became of each trial."""
        while True:
            yield from self._bury(self._look())
            while (worker := self._with_room()) is not None:
                trial = self._again.pop() if self._again else next(trials, None)
                if trial is None:
                    break
                self._send(trial, worker)
            if self._sent:
                yield from self._finished()
            elif worker is not None:
                return
            else:
                self._wait_for_worker()

    def close(self) -> None:
        """Let workers stop what they are at: they notice at their next batch."""
        with suppress(Exception):
            self._client.cancel([sent.future for sent in self._sent.values()])
            self._client.unsubscribe_topic(self._topic)

    def _look(self) -> list[str]:
        """See which workers there are; return what was sent to those that are gone."""
        if time.monotonic() >= self._look_due:
            try:
                found = self._client.scheduler_info(n_workers=-1)["workers"]
            except (OSError, KeyError):
                raise self._gone() from None
            self._workers = {a: w for a, w in found.items() if self._slots(w) > 0}
            self._unfit = len(found) > len(self._workers)
            now = time.monotonic()
            self._look_due = now + LOOK_SECONDS
            if self._workers:
                self._give_up = now + WORKER_SECONDS
        return [key for key, sent in self._sent.items() if sent.worker not in self._workers]

    def _slots(self, worker: dict[str, Any]) -> int:
        """Say how many trials a worker can have at a time."""
        threads, memory = int(worker["nthreads"]), int(worker["memory_limit"] or 0)
        if not memory or not self._how.trial_bytes:
            return threads
        return min(threads, memory // self._how.trial_bytes)

    def _with_room(self) -> str | None:
        """Return the worker with most room for another trial, None if all are busy."""
        room = {address: self._slots(worker) for address, worker in self._workers.items()}
        for sent in self._sent.values():
            room[sent.worker] -= 1
        best = max(room, key=room.__getitem__, default=None)
        return best if best is not None and room[best] > 0 else None

    def _send(self, trial: Trial, worker: str) -> None:
        key = f"{self._topic}-{trial.name}-{next(self._numbers)}"
        packed = pack(trial, check=self._how.check)
        future = self._client.submit(
            _serve, packed, key, self._topic, key=key, workers=[worker], pure=False
        )
        self._sent[key] = _Sent(trial, future, worker)
        self._watcher.begins(trial, str(self._workers[worker]["name"]))

    def _hear(self, event: tuple[float, dict[str, Any]]) -> None:
        """Hear from a worker how far it has come."""
        said = event[1]
        sent = self._sent.get(said["key"])
        if sent is not None:
            self._watcher.advances(sent.trial, said["share"])

    def _finished(self) -> Iterator[Done]:
        """Wait a moment for trials to end; yield them."""
        try:
            with self._client.as_current(), suppress(distributed.TimeoutError):
                distributed.wait(
                    [sent.future for sent in self._sent.values()],
                    timeout=LOOK_SECONDS,
                    return_when="FIRST_COMPLETED",
                )
        except (distributed.CancelledError, OSError):
            raise self._gone() from None
        ended = [key for key, sent in self._sent.items() if sent.future.done()]
        for key in ended:
            done = self._done(self._sent[key])
            if done is not None:
                del self._sent[key]
                yield done

    def _done(self, sent: _Sent) -> Done | None:
        """Fetch what became of a trial; None if it went with its worker."""
        try:
            return unpack(sent.trial, sent.future.result(timeout=CONNECT_SECONDS))
        except distributed.TimeoutError:
            self._look_due = 0.0
            return None
        except distributed.KilledWorker:
            sent.worker = ""
            return None
        except distributed.CancelledError:
            raise self._gone() from None
        except Exception as error:
            hint = "scheduler and workers need the same memsim as this computer"
            problem = Problem(f"worker {sent.worker}", 0, 0, _one_line(error), hint)
            text = f"the trial could not be sent to worker {sent.worker}: {_one_line(error)}"
            return lost(sent.trial, text, sent.worker, InputError([problem]))

    def _bury(self, keys: list[str]) -> Iterator[Done]:
        """Take back what was sent to workers that are gone; yield what has been tried enough."""
        for key in keys:
            sent = self._sent.pop(key)
            sent.future.release()
            name = sent.trial.name
            self._losses[name] = self._losses.get(name, 0) + 1
            if self._losses[name] < MAX_LOSSES:
                self._again.append(sent.trial)
            else:
                yield lost(sent.trial, f"its worker ended {MAX_LOSSES} times", sent.worker)

    def _wait_for_worker(self) -> None:
        """Wait a moment; raises InputError when that has lasted too long."""
        if time.monotonic() < self._give_up:
            time.sleep(LOOK_SECONDS / 4)
            return
        waited = f"after {WORKER_SECONDS:g} s"
        if self._unfit:
            need = f"{self._how.trial_bytes >> 20} MiB, which one trial needs"
            raise _refusal(self._how, f"{waited} no worker has {need}", "see docs/cluster.md")
        hint = f"start workers: dask worker {self._how.scheduler}, see docs/cluster.md"
        raise _refusal(self._how, f"{waited} the scheduler has no workers", hint)

    def _gone(self) -> TrialError:
        where = self._how.scheduler or "the Dask cluster"
        return TrialError(
            f"{where}: the connection to the scheduler is lost; finished trials are kept"
            "\n  hint: when it is there again, the same command goes on"
        )


def _serve(packed: bytes, key: str, topic: str) -> bytes:
    """Carry out a trial on a worker, until the run no longer wants it."""
    worker = distributed.get_worker()
    tell = rarely(lambda share: worker.log_event(topic, {"key": key, "share": share}))

    def tick(share: float) -> None:
        task = worker.state.tasks.get(key)
        if task is None or task.state == "cancelled":
            raise Stopped
        tell(share)

    return work(packed, str(worker.name), tick)
