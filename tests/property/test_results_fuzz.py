"""Damaged result files give one sentence, or the results that were there: never a trace-back."""

import copy
import json
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trials import SMALL, small

from memsim.errors import InputError
from memsim.execute import run
from memsim.results import read_results
from memsim.results.answer import answer, verdicts
from memsim.results.listing import list_runs
from memsim.results.manifest import digests
from memsim.results.merge import merge
from memsim.results.remove import plan_removal, plan_stale
from memsim.results.tables import TABLES

AXES = "axes:\n  machine.vm.watermark_boost_factor: [0, 15000]\n"
FILES = (
    "manifest.json", "scenario.json", "scenario.yaml", "trials.csv", "high_order.parquet",
    "vmstat.parquet", "timeline.parquet", "map.parquet", "oom.parquet", "migration.parquet",
    "hotplug.parquet",
)  # fmt: skip
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.just(10**4000) | st.floats()
    | st.text(max_size=8)
)  # fmt: skip
JSON = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)
# Files take time: half as many examples as elsewhere.
FUZZ = settings(
    max_examples=settings.default.max_examples // 2,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The files of a small sweep."""
    folder = run(small(SMALL + AXES, seeds="1"), out=tmp_path_factory.mktemp("made")).folder
    return {name: (folder / name).read_bytes() for name in FILES}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("results") / "small" / "run"


def put(folder, files):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)


def read_all(folder):
    """Read whatever the results say; None if they are refused, in one line a problem."""
    try:
        found = read_results(folder)
        tables = [getattr(found, name) for name in TABLES]
        said = answer(found), verdicts(found, found.scenario)
        merge([found, found], folder.parents[1] / "merged", source={}, force=True)
    except InputError as error:
        assert error.problems
        for problem in error.problems:
            assert "\n" not in str(problem).partition("\n  hint: ")[0]
            assert len(str(problem)) < 2000
        return None
    return tables, said, found.manifest


def check(folder, original, changed):
    """Read a run with changed files; list it and plan its removal, too."""
    put(folder, {**original, **changed})
    found = read_all(folder)
    (listed,) = [one for one in list_runs(folder.parents[1]) if one.place.folder == folder]
    assert listed.bytes == sum(path.stat().st_size for path in folder.iterdir())
    plan = plan_removal(folder.parents[1], [folder])
    assert {*plan.files} == {*folder.iterdir()}
    assert plan_stale(folder.parents[1]).files == ()
    return found


@st.composite
def damage(draw, content):
    """Bytes that were cut, flipped, doubled or replaced somewhere."""
    at = draw(st.integers(0, len(content)))
    end = draw(st.integers(at, min(at + 16, len(content))))
    kind = draw(st.sampled_from(["cut", "flip", "insert", "drop"]))
    if kind == "cut":
        return content[:at]
    if kind == "drop":
        return content[:at] + content[end:]
    if kind == "insert":
        return content[:at] + draw(st.binary(min_size=1, max_size=8)) + content[at:]
    flip = draw(st.integers(1, 255))
    return content[:at] + bytes(b ^ flip for b in content[at:end]) + content[end:]


def test_the_original_is_read(folder, original):
    assert check(folder, original, {}) is not None


@FUZZ
@given(data=st.data())
def test_damaged_files_are_found(folder, original, data):
    name = data.draw(st.sampled_from(FILES))
    content = data.draw(damage(original[name]))
    found = check(folder, original, {name: content})
    if name != "manifest.json" and content != original[name]:
        assert found is None


@FUZZ
@given(data=st.data())
def test_damaged_files_whose_digest_is_right_are_refused_or_read(folder, original, data):
    name = data.draw(st.sampled_from(FILES[1:]))
    content = data.draw(damage(original[name]))
    manifest = json.loads(original["manifest.json"])
    manifest["files"] |= digests({name: content})
    check(folder, original, {name: content, "manifest.json": json.dumps(manifest).encode()})


def places(data, path=()):
    """Every place in JSON data."""
    yield path
    if isinstance(data, dict | list):
        for key, value in data.items() if isinstance(data, dict) else enumerate(data):
            yield from places(value, (*path, key))


@pytest.mark.parametrize("name", ["manifest.json", "scenario.json"])
def test_other_json_in_any_place_is_refused_or_read(folder, original, name):
    whole = json.loads(original[name])
    everywhere = list(places(whole))

    @FUZZ
    @given(data=st.data())
    def confuse(data):
        path = data.draw(st.sampled_from(everywhere))
        value = data.draw(JSON)
        confused = copy.deepcopy(whole)
        if path:
            inner = confused
            for key in path[:-1]:
                inner = inner[key]
            inner[path[-1]] = value
        else:
            confused = value
        content = json.dumps(confused).encode()
        manifest = json.loads(original["manifest.json"])
        manifest["files"] |= digests({name: content} if name != "manifest.json" else {})
        changed = {"manifest.json": json.dumps(manifest).encode(), name: content}
        found = check(folder, original, changed)
        known = path[:1] not in ((), ("missing",)) and name == "manifest.json"
        if known and found is not None and type(value) is not type(_at(whole, path)):
            # What the manifest may say in more than one type, or may say at will.
            assert path[0] in ("host", "wall_time_s", "columns", "executor", "jobs", "checked",
                               "kept_trials")  # fmt: skip

    confuse()


def _at(data, path):
    for key in path:
        data = data[key]
    return data


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(b"[" * 100_000, id="deep"),
        pytest.param(b'{"a":' * 100_000, id="deep mapping"),
        pytest.param(b'{"schema_version": NaN}', id="NaN"),
        pytest.param(b'{"schema_version": 1e999}', id="infinite"),
        pytest.param(b'{"schema_version": ' + b"9" * 10_000 + b"}", id="huge"),
        pytest.param(b'{"schema_version": 2, "schema_version": 3}', id="twice"),
        pytest.param(b'\xff\xfe{"schema_version": 2}', id="no UTF-8"),
        pytest.param(b'{"schema_version": 2, "title": "\\ud800"}', id="half a character"),
        pytest.param(b"\0" * 1000, id="NUL"),
        pytest.param(b"", id="empty"),
    ],
)
@pytest.mark.parametrize("name", ["manifest.json", "unfinished.json"])
def test_odd_json_is_one_sentence(folder, original, name, content):
    put(folder, {name: content})
    assert read_all(folder) is None
    (listed,) = [one for one in list_runs(folder.parents[1]) if one.place.folder == folder]
    assert listed.damage and "\n" not in listed.damage
    assert plan_removal(folder.parents[1], [folder]).files == (folder / name,)
