"""Quantities as people write them: sizes, durations, rates, shares, ranges of integers.

Inside memsim a size is an integer number of bytes, a duration an integer number of nanoseconds, a
rate an integer per second, a share a float from 0 to 1. Every ``parse_`` function raises
ValueError with a sentence that says what was expected and what was found. The Annotated types at
the end are field types for models: they read the text, write it back, and describe it to editors.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)

BYTES = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
DURATIONS = {
    "ns": 1,
    "us": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
PER_SECOND: dict[str, int | Fraction] = {"/ms": 1000, "/s": 1, "/min": Fraction(1, 60)}
MAX_INTEGER = (1 << 62) - 1
MAX_INT_SET = 1 << 20

_QUANTITY = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?) ?([A-Za-z%/]*)", re.ASCII)
_CMDLINE_SIZE = re.compile(r"(0x[0-9a-fA-F]{1,16}|[0-9]{1,20})([KMGTPkmgtp]?|%)", re.ASCII)
_SPAN = re.compile(r"([0-9]{1,10})(?:(?:-|\.\.)([0-9]{1,10}))?", re.ASCII)


class HintedError(ValueError):
    """A value that was refused, with a hint for whoever wrote it."""

    def __init__(self, message: str, hint: str) -> None:
        self.hint = hint
        super().__init__(message)


def describe(value: object) -> str:
    """Name a value from a file as an error message shows it, shortened."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case str():
            return f'"{value}"' if len(value) <= 60 else f'"{value[:57]}..."'
        case int() | float():
            return repr(value)[:60]
        case Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
    return f"a {type(value).__name__}"


def split_quantity(text: str) -> tuple[Fraction, str] | None:
    """Split ``1.5GiB`` into an exact number and its unit; None if it is not of that shape."""
    match = _QUANTITY.fullmatch(text)
    return (Fraction(match[1]), match[2]) if match else None


def _whole(value: object, units: Mapping[str, int | Fraction], expected: str) -> int:
    quantity = split_quantity(value) if isinstance(value, str) else None
    if quantity is None or quantity[1] not in units:
        raise ValueError(f"expected {expected}, found {describe(value)}")
    result = quantity[0] * units[quantity[1]]
    if result.denominator != 1 or result > MAX_INTEGER:
        why = "too large" if result > MAX_INTEGER else "not a whole number"
        raise ValueError(f"expected {expected}, found {describe(value)}, which is {why}")
    return int(result)


def parse_bytes(value: object) -> int:
    """Read a size: ``8GiB``, ``1.5MiB``, ``0``, or a plain number of bytes."""
    expected = "a size such as 8GiB, 512MiB or 4096"
    if type(value) is int and 0 <= value <= MAX_INTEGER:
        return value
    return _whole(value, {"": 1, **BYTES}, expected)


def parse_duration(value: object) -> int:
    """Read a duration into nanoseconds: ``60s``, ``80us``, ``2min``, ``0``."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    return _whole(value, DURATIONS, "a duration such as 60s, 80us or 2min")


def parse_rate(value: object) -> int:
    """Read a rate of events into events per second: ``3000/s``, ``5/ms``, ``0``."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    return _whole(value, PER_SECOND, "a whole number per second such as 3000/s")


def parse_byte_rate(value: object) -> int:
    """Read a rate of bytes into bytes per second: ``40MiB/s``, ``0``."""
    if value in (0, "0") and not isinstance(value, bool):
        return 0
    units = {b + p: n * m for b, n in BYTES.items() for p, m in PER_SECOND.items()}
    return _whole(value, units, "a rate of bytes such as 40MiB/s")


def parse_share(value: object) -> float:
    """Read a share into a float from 0 to 1: ``60%``, ``0.1%``, ``0``, ``0.6``."""
    if type(value) is float and 0 <= value <= 1:
        return value
    if value in (0, "0") and not isinstance(value, bool):
        return 0.0
    quantity = split_quantity(value) if isinstance(value, str) else None
    if quantity is None or quantity[1] != "%" or quantity[0] > 100:
        raise ValueError(f"expected a share from 0% to 100%, found {describe(value)}")
    return float(quantity[0] / 100)


def parse_int_set(value: object) -> tuple[int, ...]:
    """Read integers >= 0 in their order: ``0-7``, ``1..10``, ``0-3,8``, ``[1, 2]``, ``3``."""
    expected = "whole numbers such as 0-7, 1..10 or [1, 2]"
    numbers: list[int] = []
    parts: list[object]
    if isinstance(value, str):
        parts = [part.strip() for part in value.split(",")]
    else:
        parts = list(value) if isinstance(value, list | tuple) else [value]
    for part in parts:
        match = None if isinstance(part, bool) else _SPAN.fullmatch(str(part))
        if match is None or not isinstance(part, str | int):
            raise ValueError(f"expected {expected}, found {describe(part)}")
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first:
            raise ValueError(f"expected {expected}, found {describe(part)}, which runs backwards")
        if len(numbers) + last - first >= MAX_INT_SET:
            raise ValueError(f"expected at most {MAX_INT_SET} numbers, found more")
        numbers.extend(range(first, last + 1))
    if len(set(numbers)) != len(numbers):
        twice = Counter(numbers).most_common(1)[0][0]
        raise ValueError(f"expected each number once, found {twice} twice")
    return tuple(numbers)


class CmdlineSize(NamedTuple):
    """A size on the kernel's command line: bytes, or a percentage of all pages."""

    bytes: int
    percent: int


def parse_cmdline_size(text: str) -> CmdlineSize:
    """Read ``4G``, ``512M`` or ``50%`` as the kernel does (lib/cmdline.c, memparse, 6.1).

    Unlike Linux: octal is refused, and what follows the size is an error instead of ignored.
    """
    match = _CMDLINE_SIZE.fullmatch(text)
    octal = match is not None and len(match[1]) > 1 and match[1].isdigit() and match[1][0] == "0"
    if match is None or octal:
        raise ValueError(f"expected a size such as 4G, 512M or 50%, found {describe(text)}")
    number = int(match[1], 0)
    if match[2] == "%":
        if number > 100:
            raise ValueError(f"expected at most 100%, found {describe(text)}")
        return CmdlineSize(0, number)
    size = number << (10 * " KMGTP".index(match[2].upper() or " "))
    if size > MAX_INTEGER:
        raise ValueError(f"expected a size such as 4G, found {describe(text)}, which is too large")
    return CmdlineSize(size, 0)


def _largest(value: int, units: Mapping[str, int]) -> str:
    unit = next(u for u in reversed([*units]) if value % units[u] == 0)
    return f"{value // units[unit]}{unit}"


def format_bytes(value: int) -> str:
    """Write a size exactly, in the largest unit that divides it: ``8GiB``, ``0``."""
    return _largest(value, BYTES) if value else "0"


def format_duration(value: int) -> str:
    """Write a duration in nanoseconds exactly: ``60s`` is ``1min``, ``0``."""
    return _largest(value, DURATIONS) if value else "0"


def format_share(value: float) -> str:
    """Write a share so that reading it gives the same float: ``0.6`` is ``60%``."""
    return f"{(Decimal(repr(value)) * 100).normalize():f}%"


def format_int_set(values: tuple[int, ...]) -> str | list[int]:
    """Write consecutive integers as ``0-7``, others as a list."""
    if len(values) > 1 and values == tuple(range(values[0], values[0] + len(values))):
        return f"{values[0]}-{values[-1]}"
    return list(values)


def _existing(value: str, info: ValidationInfo) -> str:
    # Only the loader knows the folder of the scenario and collects what it must hash.
    if info.context is None:
        return value
    path = Path(info.context["directory"], value)
    if "\0" in value or not (path.is_file() or path.is_dir()):
        raise ValueError(f"file {describe(value)} does not exist")
    if path.resolve() == Path("/") or path.resolve().is_relative_to("/proc"):
        hint = "memsim snapshot -o DIR copies what it says of memory"
        raise HintedError(f"{describe(value)} is a live machine, no file that stays", hint)
    info.context["inputs"].add(value)
    return value


def _known_node(value: int, info: ValidationInfo) -> int:
    nodes = info.context and info.context["nodes"]
    if nodes and value not in nodes:
        listed = " and ".join(", ".join(map(str, nodes)).rsplit(", ", 1))
        raise HintedError(f"node {value} does not exist", f"nodes are {listed}")
    return value


def _known_nodes(values: tuple[int, ...], info: ValidationInfo) -> tuple[int, ...]:
    if not values:
        raise ValueError("expected at least one node, found none")
    for value in values:
        _known_node(value, info)
    return values


def _read(parse: Callable[[object], int]) -> BeforeValidator:
    # In a file a number needs its unit; in Python the unit is that of the field.
    def read(value: object, info: ValidationInfo) -> int:
        return value if info.mode == "python" and type(value) is int else parse(value)

    return BeforeValidator(read)


def _schema(example: str, doc: str) -> WithJsonSchema:
    return WithJsonSchema({"type": ["string", "number"], "examples": [example], "description": doc})


def _written(function: Any) -> PlainSerializer:
    return PlainSerializer(function, when_used="json")


Bytes = Annotated[
    int, BeforeValidator(parse_bytes), _written(format_bytes), _schema("8GiB", "a size")
]
"""Bytes, written ``8GiB``."""
Duration = Annotated[
    int, _read(parse_duration), _written(format_duration), _schema("60s", "a duration")
]
"""Nanoseconds, written ``60s``."""
Rate = Annotated[
    int,
    _read(parse_rate),
    _written(lambda value: f"{value}/s"),
    _schema("3000/s", "events per second"),
]
"""Events per second, written ``3000/s``."""
ByteRate = Annotated[
    int,
    _read(parse_byte_rate),
    _written(lambda value: f"{format_bytes(value)}/s" if value else "0"),
    _schema("40MiB/s", "bytes per second"),
]
"""Bytes per second, written ``40MiB/s``."""
Share = Annotated[
    float, BeforeValidator(parse_share), _written(format_share), _schema("60%", "a share")
]
"""A float from 0 to 1, written ``60%``."""
IntSet = Annotated[
    tuple[int, ...],
    BeforeValidator(parse_int_set),
    _written(format_int_set),
    WithJsonSchema(
        {
            "type": ["string", "integer", "array"],
            "items": {"type": "integer", "minimum": 0},
            "examples": ["0-7"],
            "description": "whole numbers",
        }
    ),
]
"""Integers, written ``0-7``, ``1..10`` or ``[1, 2]``."""
NodeSet = Annotated[IntSet, AfterValidator(_known_nodes)]
"""An IntSet of nodes of the machine."""
NodeId = Annotated[int, AfterValidator(_known_node)]
"""A node of the machine."""
InputPath = Annotated[
    str, AfterValidator(_existing), WithJsonSchema({"type": "string", "format": "path"})
]
"""A file or folder that is read, relative to the scenario's folder; its content is hashed."""


class _Distribution(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Exponential(_Distribution):
    """Memoryless, with its mean."""

    mean: Duration


class Lognormal(_Distribution):
    """Long-tailed, with its median and the standard deviation of its logarithm."""

    median: Duration
    sigma: float = Field(ge=0, le=10)


class Uniform(_Distribution):
    """Evenly between two durations."""

    min: Duration
    max: Duration

    @model_validator(mode="after")
    def _in_order(self) -> Uniform:
        if self.max < self.min:
            least, most = format_duration(self.min), format_duration(self.max)
            raise ValueError(f"expected max to be at least min, found {most} below {least}")
        return self


class Lifetime(_Distribution):
    """How long something lives: exactly one of the named distributions."""

    constant: Duration | None = None
    exponential: Exponential | None = None
    lognormal: Lognormal | None = None
    uniform: Uniform | None = None
    forever: Literal[True] | None = None

    @model_validator(mode="after")
    def _one(self) -> Lifetime:
        names = [name for name in Lifetime.model_fields if getattr(self, name) is not None]
        if len(names) != 1:
            found = " and ".join(names) or "none"
            known = ", ".join(Lifetime.model_fields)
            raise ValueError(f"expected exactly one of {known}; found {found}")
        return self
