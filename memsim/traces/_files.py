"""Bytes of outside files: plain, gzip or zstd, in bounded chunks of whole lines."""

from __future__ import annotations

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from memsim.errors import InputError, Problem, visible

HEAD_BYTES = 64 << 10
CHUNK_BYTES = 2 << 20
MAX_LINE_BYTES = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


class Readable(Protocol):
    """What plain files and decompressors have in common."""

    def read(self, size: int, /) -> bytes:
        """Return up to ``size`` bytes."""


def refuse(
    path: Path | str, message: str, *, line: int = 0, column: int = 0, hint: str = ""
) -> InputError:
    """Make the error of one problem with one file."""
    return InputError([Problem(str(path), line, column, message, hint)])


def printable(raw: bytes, limit: int = 160) -> str:
    """Show bytes of an outside file on one line, control characters escaped."""
    return visible(raw[:limit].decode("utf-8", "backslashreplace"))


@contextmanager
def open_bytes(path: Path) -> Iterator[Readable]:
    """Open a file for reading, decompressed; damaged data raises InputError while it is read."""
    try:
        with path.open("rb") as plain:
            magic = plain.read(4)
            plain.seek(0)
            if magic.startswith(GZIP_MAGIC):
                with gzip.open(plain, "rb") as unpacked:
                    yield unpacked
            elif magic == ZSTD_MAGIC:
                import pyarrow as pa

                with pa.CompressedInputStream(plain, "zstd") as stream:
                    yield stream
            else:
                yield plain
    except FileNotFoundError as error:
        raise refuse(path, "no such file") from error
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise refuse(path, f"damaged or truncated gzip data ({error})") from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refuse(path, f"cannot be read: {printable(reason.encode())}") from error


def read_head(path: Path) -> bytes:
    """Return the first 64 KiB, decompressed."""
    with open_bytes(path) as file:
        return file.read(HEAD_BYTES)


def line_chunks(path: Path) -> Iterator[bytes]:
    """Yield pieces of whole lines; only the very last piece can lack its final newline."""
    rest = b""
    with open_bytes(path) as file:
        while block := file.read(CHUNK_BYTES):
            whole, newline, tail = block.rpartition(b"\n")
            if newline:
                yield rest + whole + newline
                rest = tail
            else:
                rest += tail
            if len(rest) > MAX_LINE_BYTES:
                raise refuse(path, "a line is longer than 1 MiB: this is no text file")
    if rest:
        yield rest


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file that appears whole or not at all."""
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise refuse(path, f"cannot be written: {error.strerror}") from error
