"""Where the files of /proc and /sys are: on this machine, or copied to a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from memsim.traces._files import Readable, open_bytes, printable, refuse

TEXTS = ("buddyinfo", "zoneinfo", "pagetypeinfo", "vmstat", "meminfo")
"""Files of /proc; the first two are needed."""
NEEDED = TEXTS[:2]
PAGES = ("kpageflags", "kpagecount")
SUFFIXES = ("", ".txt", ".bin", ".gz", ".txt.gz", ".bin.gz", ".zst", ".txt.zst", ".bin.zst")
MAX_TEXT_BYTES = 64 << 20
SYSTEM = "sys/devices/system"


@dataclass
class Copies:
    """Files below a folder by their names in /proc, and which of them cannot be had.

    A copy may stand in the folder itself or in ``proc`` below it, with .txt, .bin, .gz or .zst
    appended; files of /sys/devices/system in ``sys/devices/system``. The folder ``/`` is this
    machine.
    """

    folder: Path
    missing: list[str] = field(default_factory=list)
    """A sentence for each file that cannot be read."""

    def find(self, name: str) -> Path | None:
        """Return the file of this name that holds something, None if there is none."""
        places = (self.folder / "proc", self.folder)
        for path in (place / f"{name}{suffix}" for place in places for suffix in SUFFIXES):
            if path.is_file():
                return path
        return None

    def text(self, name: str) -> tuple[Path, list[str]] | None:
        """Return the lines of a text file of /proc; None, and say so, if it cannot be had.

        Raises InputError for a file that is needed and cannot be had, and for one that is cut off.
        """
        path = self.find(name)
        raw = None if path is None else self._content(path, name)
        if path is not None and raw:
            if not raw.endswith(b"\n"):
                line = raw.count(b"\n") + 1
                raise refuse(path, "ends amid a line", line=line, hint="the copy is truncated")
            return path, raw.decode("utf-8", "backslashreplace").split("\n")
        if name in NEEDED:
            what = "is empty" if path is not None else f"holds no copy of /proc/{name}"
            raise refuse(path or self.folder, what, hint=self._where(name))
        self.lacks(name, path)
        return None

    def lacks(self, name: str, path: Path | None) -> None:
        """Note that a file is not there, or cannot be read."""
        why = "is not there" if path is None else "is empty or only root can read it"
        self.missing.append(f"/proc/{name} {why}")

    def readable(self, name: str) -> Path | None:
        """Return a file of pages that can be read and holds something; else None, and say so."""
        path = self.find(name)
        if path is not None:
            try:
                with path.open("rb") as file:
                    if file.read(8):
                        return path
            except OSError:
                pass
        self.lacks(name, path)
        return None

    def system(self, pattern: str) -> Iterator[Path]:
        """Yield what matches a pattern below /sys/devices/system, by name."""
        yield from sorted((self.folder / SYSTEM).glob(pattern))

    def word(self, path: Path) -> str:
        """Return the first line of a small file of /sys, empty if it cannot be read."""
        try:
            with path.open("rb") as file:
                return printable(file.read(4096).split(b"\n")[0].strip())
        except OSError:
            return ""

    def _where(self, name: str) -> str:
        """Say where the file could be had."""
        if self.folder == Path("/"):
            return "--from takes copies of another machine"
        below = sorted(path for path in self.folder.glob("*/") if Copies(path).find(name))
        if below:
            return f"there is one in {', '.join(path.name for path in below)}"
        return f"cat /proc/{name} prints it"

    def _content(self, path: Path, name: str) -> bytes:
        if name not in NEEDED:
            try:
                path.open("rb").close()
            except OSError:
                return b""
        with open_bytes(path) as file:
            raw = _all_of(file)
        if len(raw) > MAX_TEXT_BYTES:
            raise refuse(path, "is larger than 64 MiB: this is no file of /proc")
        return raw if raw.strip() else b""


def _all_of(file: Readable) -> bytes:
    pieces = []
    size = 0
    while size <= MAX_TEXT_BYTES and (piece := file.read(1 << 20)):
        pieces.append(piece)
        size += len(piece)
    return b"".join(pieces)
