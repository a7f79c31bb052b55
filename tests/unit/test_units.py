"""Quantities are read exactly, written back exactly, and refused with a sentence."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from memsim import units
from memsim.units import CmdlineSize


@pytest.mark.parametrize(
    ("parse", "value", "expected"),
    [
        (units.parse_bytes, "8GiB", 8 << 30),
        (units.parse_bytes, "1.5MiB", 3 << 19),
        (units.parse_bytes, "128 MiB", 128 << 20),
        (units.parse_bytes, "0", 0),
        (units.parse_bytes, 4096, 4096),
        (units.parse_bytes, "4096", 4096),
        (units.parse_duration, "60s", 60 * 10**9),
        (units.parse_duration, "80us", 80_000),
        (units.parse_duration, "2min", 120 * 10**9),
        (units.parse_duration, "0.1s", 10**8),
        (units.parse_duration, 0, 0),
        (units.parse_rate, "3000/s", 3000),
        (units.parse_rate, "5/ms", 5000),
        (units.parse_rate, "120/min", 2),
        (units.parse_byte_rate, "40MiB/s", 40 << 20),
        (units.parse_byte_rate, 0, 0),
        (units.parse_share, "60%", 0.6),
        (units.parse_share, "0.1%", 0.001),
        (units.parse_share, 0.25, 0.25),
        (units.parse_share, 0, 0.0),
        (units.parse_int_set, "0-7", tuple(range(8))),
        (units.parse_int_set, "1..10", tuple(range(1, 11))),
        (units.parse_int_set, "0-2,8", (0, 1, 2, 8)),
        (units.parse_int_set, [2, 1], (2, 1)),
        (units.parse_int_set, [], ()),
        (units.parse_int_set, 3, (3,)),
        (units.parse_cmdline_size, "4G", CmdlineSize(4 << 30, 0)),
        (units.parse_cmdline_size, "512m", CmdlineSize(512 << 20, 0)),
        (units.parse_cmdline_size, "0x10k", CmdlineSize(16 << 10, 0)),
        (units.parse_cmdline_size, "50%", CmdlineSize(0, 50)),
        (units.parse_cmdline_size, "4096", CmdlineSize(4096, 0)),
    ],
)
def test_read(parse, value, expected):
    assert parse(value) == expected
    assert type(parse(value)) is type(expected)


SIZE = "expected a size such as 8GiB, 512MiB or 4096, found "
DURATION = "expected a duration such as 60s, 80us or 2min, found "
RATE = "expected a whole number per second such as 3000/s, found "
SHARE = "expected a share from 0% to 100%, found "
INTEGERS = "expected whole numbers such as 0-7, 1..10 or [1, 2], found "
WORD = "expected a size such as 4G, 512M or 50%, found "


@pytest.mark.parametrize(
    ("parse", "value", "message"),
    [
        (units.parse_bytes, "8GB", SIZE + '"8GB"'),
        (units.parse_bytes, "-1GiB", SIZE + '"-1GiB"'),
        (units.parse_bytes, -1, SIZE + "-1"),
        (units.parse_bytes, True, SIZE + "true"),
        (units.parse_bytes, None, SIZE + "nothing"),
        (units.parse_bytes, "0.3B", SIZE + '"0.3B", which is not a whole number'),
        (units.parse_bytes, "9999999999TiB", SIZE + '"9999999999TiB", which is too large'),
        (units.parse_duration, 60, DURATION + "60"),
        (units.parse_duration, "12:30", DURATION + '"12:30"'),
        (units.parse_duration, False, DURATION + "false"),
        (units.parse_duration, [], DURATION + "a list"),
        (units.parse_rate, "0.5/s", RATE + '"0.5/s", which is not a whole number'),
        (units.parse_rate, {}, RATE + "a mapping"),
        (units.parse_byte_rate, "40/s", 'expected a rate of bytes such as 40MiB/s, found "40/s"'),
        (units.parse_share, "101%", SHARE + '"101%"'),
        (units.parse_share, 1, SHARE + "1"),
        (units.parse_share, 1.5, SHARE + "1.5"),
        (units.parse_int_set, "7-0", INTEGERS + '"7-0", which runs backwards'),
        (units.parse_int_set, [-1], INTEGERS + "-1"),
        (units.parse_int_set, [True], INTEGERS + "true"),
        (units.parse_int_set, [1.0], INTEGERS + "1.0"),
        (units.parse_int_set, "0-3,2", "expected each number once, found 2 twice"),
        (units.parse_int_set, "0-9999999999", "expected at most 1048576 numbers, found more"),
        (units.parse_cmdline_size, "4GB", WORD + '"4GB"'),
        (units.parse_cmdline_size, "010", WORD + '"010"'),
        (units.parse_cmdline_size, "101%", 'expected at most 100%, found "101%"'),
        (units.parse_cmdline_size, "9999999P", WORD.replace(", 512M or 50%", "")
         + '"9999999P", which is too large'),
    ],
)  # fmt: skip
def test_refused(parse, value, message):
    with pytest.raises(ValueError) as refusal:
        parse(value)
    assert str(refusal.value) == message


def test_long_text_is_shortened_in_messages():
    assert units.describe("x" * 1000) == '"' + "x" * 57 + '..."'


@given(st.integers(0, units.MAX_INTEGER))
def test_written_sizes_and_durations_read_back(value):
    assert units.parse_bytes(units.format_bytes(value)) == value
    assert units.parse_duration(units.format_duration(value)) == value


@given(st.integers(0, 10**9))
def test_written_shares_read_back(millionths):
    share = millionths / 10**9
    assert units.parse_share(units.format_share(share)) == share


@given(st.lists(st.integers(0, 50), unique=True).map(tuple))
def test_written_integers_read_back(values):
    assert units.parse_int_set(units.format_int_set(values)) == values


class Knobs(BaseModel):
    size: units.Bytes = 0
    rate: units.ByteRate = 0
    share: units.Share = 0.0
    cpus: units.IntSet = ()
    lifetime: units.Lifetime | None = None


def test_models_read_and_write_units():
    text = (
        '{"size":"8GiB","rate":"40MiB/s","share":"0.1%","cpus":"0-7",'
        '"lifetime":{"lognormal":{"median":"2s","sigma":1.5}}}'
    )
    knobs = Knobs.model_validate_json(text, strict=True)
    assert (knobs.size, knobs.rate, knobs.share) == (8 << 30, 40 << 20, 0.001)
    assert knobs.cpus == tuple(range(8))
    assert knobs.lifetime.lognormal.median == 2 * 10**9
    assert knobs.model_dump_json(exclude_unset=True) == text


@pytest.mark.parametrize("text", ["{}", '{"constant": "1s", "forever": true}'])
def test_lifetime_is_exactly_one_distribution(text):
    with pytest.raises(ValidationError, match="expected exactly one of constant, exponential"):
        units.Lifetime.model_validate_json(text)


def test_schema_says_text():
    size = Knobs.model_json_schema()["properties"]["size"]
    assert size["type"] == ["string", "number"]
    assert size["examples"] == ["8GiB"]


def test_python_may_give_a_number_in_the_units_of_the_field():
    assert units.Exponential(mean=5).mean == 5
    with pytest.raises(ValidationError, match="expected a duration"):
        units.Exponential.model_validate_json('{"mean": 5}')
