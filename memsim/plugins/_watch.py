"""Run a plug-in's own code: not for ever, without standard output, its errors as sentences."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, TextIO

from memsim.errors import InputError, MemsimError, Problem

LIMIT_NAME = "MEMSIM_PLUGIN_SECONDS"
LIMIT_SECONDS = 30.0
"""What one call may take: an import, a method, one batch of a stream."""
GRACE = 3
"""Interruptions, a second apart, before the process ends: code that is not Python hears none."""
MAX_TEXT = 300


class PluginFault(InputError):
    """A plug-in's own code did wrong; ``problems`` has one entry."""

    @classmethod
    def at(cls, path: str, line: int, message: str, hint: str = "") -> PluginFault:
        """Make the error of one place."""
        return cls([Problem(path, line, 0, message[:MAX_TEXT], hint)])


class PluginTimeout(InputError):
    """A plug-in's own code took too long on this computer; ``problems`` has one entry."""


class _TimeUp(BaseException):
    """Raised in a thread from outside; no plug-in that catches Exception swallows it."""


class _Printed(BaseException):
    """The code wrote to standard output."""


def limit_seconds() -> float:
    """Say how long one call of a plug-in may take; raises InputError for a bad setting."""
    text = os.environ.get(LIMIT_NAME, "")
    try:
        seconds = float(text or LIMIT_SECONDS)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds <= threading.TIMEOUT_MAX:
        message = f"expected a number of seconds above 0, found {text}"
        raise InputError([Problem(LIMIT_NAME, 0, 0, message)])
    return seconds


@contextmanager
def watching(path: str, line: int, what: str) -> Iterator[None]:
    """Run code of the plug-in ``path``; ``line`` is where ``what`` begins, if no other is known.

    Raises PluginTimeout for what takes too long and PluginFault for all else that goes wrong;
    memsim's own errors and the user's interruption pass.
    """
    seconds = limit_seconds()
    try:
        with _silence(), _within(seconds, path, line, what):
            yield
    except (MemsimError, KeyboardInterrupt):
        raise
    except _TimeUp as error:
        problem = _too_slow(path, _line(path, error.__traceback__) or line, what, seconds)
        raise PluginTimeout([problem]) from None
    except _Printed as error:
        hint = "while you try it out, print to sys.stderr"
        at = _line(path, error.__traceback__) or line
        raise PluginFault.at(path, at, f"{what} prints", hint) from None
    except SystemExit as error:
        at = _line(path, error.__traceback__) or line
        raise PluginFault.at(path, at, f"{what} calls sys.exit") from None
    except BaseException as error:
        raise PluginFault([_raised(path, line, what, error)]) from None


def _raised(path: str, line: int, what: str, error: BaseException) -> Problem:
    if isinstance(error, SyntaxError) and error.filename == path:
        return Problem(path, error.lineno or 0, error.offset or 0, f"is no Python: {error.msg}")
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:
        text = ""
    message = f"{what} raises {kind}: {text}" if text else f"{what} raises {kind}"
    return Problem(path, _line(path, error.__traceback__) or line, 0, message[:MAX_TEXT])


def _too_slow(path: str, line: int, what: str, seconds: float) -> Problem:
    message = f"{what} takes longer than {seconds:g} s"
    return Problem(path, line, 0, message, f"{LIMIT_NAME} sets another limit")


def _line(path: str, trace: TracebackType | None) -> int:
    """Find the innermost line of the plug-in's own code."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == path:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


# --- time ---------------------------------------------------------------------------------


@dataclass
class _Call:
    """A call that is under way."""

    thread: int
    due: float
    seconds: float
    path: str
    line: int
    what: str
    interruptions: int = 0


class _Watchdog:
    """One thread that interrupts the calls of all others when their time is up."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._calls: dict[int, _Call] = {}
        self._count = 0
        self._thread: threading.Thread | None = None

    def begin(self, call: _Call) -> int:
        with self._changed:
            self._count += 1
            self._calls[self._count] = call
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
            self._changed.notify()
            return self._count

    def end(self, number: int) -> bool:
        """Take a call off the list; say whether its time was up."""
        while True:
            try:
                with self._changed:
                    call = self._calls.pop(number, None)
                    if call is None or not call.interruptions:
                        return False
                    _interrupt(call.thread, None)
                    return True
            except _TimeUp:
                continue

    def _watch(self) -> None:
        with self._changed:
            while True:
                now = time.monotonic()
                for call in self._calls.values():
                    if call.due <= now:
                        call.due = now + 1
                        self._interrupt(call)
                due = min((call.due for call in self._calls.values()), default=None)
                self._changed.wait(None if due is None else max(0.0, due - now))

    def _interrupt(self, call: _Call) -> None:
        call.interruptions += 1
        if call.interruptions <= GRACE:
            _interrupt(call.thread, _TimeUp)
            return
        frame = sys._current_frames().get(call.thread)
        line = _line_of_frame(call.path, frame) or call.line
        problem = _too_slow(call.path, line, call.what, call.seconds)
        os.write(2, f"{problem}\n".encode(errors="backslashreplace"))
        os._exit(InputError.exit_code)


def _line_of_frame(path: str, frame: FrameType | None) -> int:
    while frame is not None:
        if frame.f_code.co_filename == path:
            return frame.f_lineno
        frame = frame.f_back
    return 0


def threads_since(before: set[threading.Thread]) -> list[threading.Thread]:
    """Return the threads that began since and for which Python waits at exit."""
    return [t for t in threading.enumerate() if not t.daemon and t not in before]


def refuse_threads_left(paths: Sequence[str], before: set[threading.Thread]) -> None:
    """Raise PluginFault if a thread that began since does not end within a second."""
    for thread in threads_since(before):
        thread.join(1)
        frame = sys._current_frames().get(thread.ident or 0)
        lines = {path: _line_of_frame(path, frame) for path in paths}
        if thread.is_alive() and paths:
            path = max(paths, key=lines.__getitem__)
            hint = "end it, or make it a daemon"
            raise PluginFault.at(path, lines[path], "leaves a thread running", hint)


def _interrupt(thread: int, error: type[BaseException] | None) -> None:
    """Raise an error in another thread at its next step in Python; None takes that back."""
    import ctypes

    raised = ctypes.py_object(error) if error else None
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), raised)


_watchdog = _Watchdog()


@contextmanager
def _within(seconds: float, path: str, line: int, what: str) -> Iterator[None]:
    due = time.monotonic() + seconds
    number = _watchdog.begin(_Call(threading.get_ident(), due, seconds, path, line, what))
    late = False
    try:
        yield
    finally:
        late = _watchdog.end(number)
    if late:
        raise _TimeUp


# --- standard output ------------------------------------------------------------------------


class _Refusing:
    """Standard output that refuses what plug-ins write; that of other threads passes."""

    def __init__(self, real: TextIO) -> None:
        self._real = real

    def write(self, text: str) -> int:
        if getattr(_quiet, "depth", 0):
            raise _Printed
        return self._real.write(text)

    def close(self) -> None:
        raise _Printed

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


_quiet = threading.local()
_lock = threading.Lock()
_watched = 0


@contextmanager
def _silence() -> Iterator[None]:
    global _watched
    _quiet.depth = getattr(_quiet, "depth", 0) + 1
    with _lock:
        if _watched == 0:
            sys.stdout = _Refusing(sys.stdout)
        _watched += 1
    try:
        yield
    finally:
        _quiet.depth -= 1
        with _lock:
            _watched -= 1
            if _watched == 0 and isinstance(sys.stdout, _Refusing):
                sys.stdout = sys.stdout._real
