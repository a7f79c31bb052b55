"""Baselines on disk: what stands there, what is refused, and that they change whole or not."""

import json
import os
import shutil
from dataclasses import replace

import pytest
from baseline_desk import FAILING, baseline_of, edit, plus, recorded, rows_of, write_rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memsim.check import baseline_for, baselines_in, compare, place_of, read_baseline, update
from memsim.check.baseline import settle
from memsim.errors import InputError

GONE = "gone"
FILES = {
    "baseline.json", "scenario.json", "scenario.yaml", "trials.csv", "high_order.csv", "vmstat.csv",
}  # fmt: skip


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_baseline_has_the_tables_of_the_run(base, now):
    assert {path.name for path in base.iterdir()} == FILES
    for name in FILES - {"baseline.json"}:
        assert (base / name).read_bytes() == (now.folder / name).read_bytes()


def test_a_baseline_says_what_it_is_of_and_neither_when_nor_where(base, now):
    about = json.loads((base / "baseline.json").read_text())
    assert about["scenario"] == "small" and about["text_hash"] == now.scenario.text_hash
    assert (about["policies"], about["seeds"], about["axes"]) == (["none", "mobility"], [1, 2], [])
    assert about["columns"]["fallback.events"] == {
        "unit": "events", "better": "lower", "tolerance": 0.0, "dtype": "int64",
    }  # fmt: skip
    manifest = json.loads((now.folder / "manifest.json").read_text())
    text = (base / "baseline.json").read_text()
    for word in (manifest["host"]["name"], manifest["started"][:10], manifest["directory"]):
        assert word not in text


def test_the_large_tables_of_a_sweep_are_csv_too(tmp_path):
    sweep = recorded(tmp_path / "results", FAILING, seeds="1")
    assert (sweep.folder / "vmstat.parquet").is_file()
    base = baseline_of(sweep, tmp_path / "small")
    assert {path.name for path in base.iterdir()} == FILES
    assert compare(read_baseline(base), sweep).findings == ()
    edit(base / "vmstat.csv", 2, "value", plus(1))
    (finding,) = compare(read_baseline(base), sweep).findings
    assert finding.line == 2


def test_a_run_as_baseline_has_no_lines_in_parquet(tmp_path):
    sweep = recorded(tmp_path, FAILING, seeds="1")
    table = sweep.tables["vmstat"]
    rows = [{**row.cells, "value": f"1{row.cells['value']}"} for row in table.rows.values()]
    changed = {
        k: row._replace(cells=c) for (k, row), c in zip(table.rows.items(), rows, strict=True)
    }
    other = replace(sweep, tables={**sweep.tables, "vmstat": replace(table, rows=changed)})
    first, *_ = compare(read_baseline(sweep.folder), other).findings
    assert first.place == str(sweep.folder / "vmstat.parquet")


def refused(folder):
    """The one line that refuses a baseline."""
    with pytest.raises(InputError) as caught:
        read_baseline(folder)
    (problem,) = caught.value.problems
    assert str(problem).split("\n  hint: ")[0].count("\n") == 0
    return str(problem)


def about(**changes):
    def damage(base):
        path = base / "baseline.json"
        said = json.loads(path.read_text()) | changes
        path.write_text(json.dumps({key: value for key, value in said.items() if value != GONE}))

    return damage


def ragged(base):
    rows = rows_of(base / "trials.csv")
    write_rows(base / "trials.csv", [*rows[:2], rows[2][:-1], *rows[3:]])


def twice(base):
    rows = rows_of(base / "vmstat.csv")
    write_rows(base / "vmstat.csv", [*rows, rows[3]])


def fewer_trials(base):
    write_rows(base / "trials.csv", rows_of(base / "trials.csv")[:-1])


def nul(base):
    content = (base / "trials.csv").read_bytes().replace(b"mobility", b"mob\0lity", 1)
    (base / "trials.csv").write_bytes(content)


def huge(base):
    with (base / "vmstat.csv").open("r+b") as file:
        file.truncate(65 << 20)


def cell(table, line, column, text):
    return lambda base: edit(base / f"{table}.csv", line, column, text)


def other_scenario(base):
    path = base / "scenario.json"
    path.write_text(path.read_text().replace("100ms", "200ms", 1))


def fifo(base):
    (base / "trials.csv").unlink()
    os.mkfifo(base / "trials.csv")


def written(name, content):
    return lambda base: (base / name).write_bytes(content)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        pytest.param(about(version=2), "found 2\n  hint: update mem", id="newer"),
        pytest.param(about(version=0), "version 1, found 0", id="older"),
        pytest.param(about(version=True), "version 1, found true", id="truth"),
        pytest.param(about(seeds=GONE), "seeds: Field required", id="no seeds"),
        pytest.param(about(x=1), "x: Extra inputs", id="extra key"),
        pytest.param(about(seeds=[1]), "is not about the scenario", id="seeds"),
        pytest.param(about(tolerances=["a"]), "expected something", id="rule"),
        pytest.param(about(tolerances=["zz = 5%"]), "no figure", id="no figure"),
        pytest.param(written("baseline.json", b"{"), "is no JSON", id="no JSON"),
        pytest.param(written("baseline.json", b"[" * 100_000), "is no JSON", id="deep JSON"),
        pytest.param(written("baseline.json", b"[]"), "found nothing", id="list"),
        pytest.param(written("baseline.json", b"\xff\xfe"), "is no JSON", id="bytes"),
        pytest.param(written("scenario.json", b"[]"), "scenario.json: is no scenario", id="no map"),
        pytest.param(written("scenario.json", b'{"a": 1}'), "is no scenario: ", id="no scenario"),
        pytest.param(other_scenario, "is not about the scenario in", id="other scenario"),
        pytest.param(lambda b: (b / "vmstat.csv").unlink(), "there is no such file", id="no table"),
        pytest.param(written("trials.csv", b""), "is empty", id="empty"),
        pytest.param(written("trials.csv", b"policy,seed\n"), "each once", id="no columns"),
        pytest.param(written("trials.csv", b'a,"b\n'), "is no CSV", id="open quote"),
        pytest.param(written("trials.csv", b"policy\n\xff\n"), "csv:2: is not UTF-8", id="latin"),
        pytest.param(written("trials.csv", b"x" * 200_000), "is no CSV", id="one long cell"),
        pytest.param(ragged, "trials.csv:3: expected", id="ragged"),
        pytest.param(twice, "the same policy, seed, zone, counter as in line 4", id="twice"),
        pytest.param(fewer_trials, "lacks the trial mobility, 2", id="fewer trials"),
        pytest.param(nul, "trials.csv:4: has a NUL byte", id="NUL"),
        pytest.param(huge, "is larger than 64 MiB", id="huge"),
        pytest.param(fifo, "is no file", id="pipe"),
        pytest.param(cell("trials", 2, "seed", "one"), "seed: expected a whole number", id="seed"),
        pytest.param(cell("trials", 2, "seed", ""), "expected a whole number", id="no seed"),
        pytest.param(
            cell("trials", 3, "fallback.events", "many\x1b[31m"),
            'trials.csv:3: fallback.events: expected a whole number, found "many\\x1b[31m"',
            id="text for a number",
        ),
        pytest.param(cell("trials", 2, "numa.hit_ratio", "nan"), "expected a number", id="nan"),
        pytest.param(cell("trials", 2, "numa.hit_ratio", "1e999"), "expected a number", id="inf"),
        pytest.param(cell("vmstat", 2, "value", "9" * 5000), "expected a whole", id="digits"),
        pytest.param(cell("high_order", 2, "time_ns", "0x1"), "expected a whole", id="hex"),
    ],
)  # fmt: skip
def test_a_baseline_that_is_no_good_is_one_line(base, damage, message):
    damage(base)
    assert message in refused(base)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_damage_is_a_refusal_or_a_finding_and_no_crash(kept, now, tmp_path_factory, data):
    base = shutil.copytree(kept, tmp_path_factory.mktemp("damaged") / "small")
    path = base / data.draw(st.sampled_from(sorted(FILES)))
    content = path.read_bytes()
    begin = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(begin, min(len(content), begin + 40)))
    path.write_bytes(content[:begin] + data.draw(st.binary(max_size=20)) + content[end:])
    try:
        outcome = compare(read_baseline(base), now)
    except InputError as error:
        assert error.problems
    else:
        assert outcome.trials == 4


def test_links_out_of_the_tree_are_refused(base, tmp_path):
    away = shutil.copy(base / "trials.csv", tmp_path / "away.csv")
    (base / "trials.csv").unlink()
    (base / "trials.csv").symlink_to(away)
    assert "is a symbolic link out of" in refused(base)
    (tmp_path / "all").mkdir()
    (tmp_path / "all/small").symlink_to(base)
    with pytest.raises(InputError, match="is a symbolic link out of"):
        baseline_for("small", tmp_path / "all")
    with pytest.raises(InputError, match="is a symbolic link out of"):
        place_of("small", tmp_path / "all")


def test_a_folder_offers_the_baselines_in_it(base, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / ".hidden").mkdir()
    shutil.copy(base / "baseline.json", tmp_path / ".hidden")
    assert baselines_in(tmp_path) == {"small": base}
    assert baselines_in(base) == {"": base}
    assert baseline_for("small", tmp_path) == base
    with pytest.raises(InputError, match="did you mean"):
        baseline_for("smal", tmp_path)
    with pytest.raises(InputError, match="no baseline can be read here: No such file"):
        baselines_in(tmp_path / "nowhere")


def test_a_path_that_ends_in_the_name_is_the_baseline_itself(tmp_path, base, now):
    assert place_of("small", tmp_path / "new") == tmp_path / "new/small"
    assert place_of("small", tmp_path / "new/small") == tmp_path / "new/small"
    assert place_of("small", tmp_path) == base
    assert place_of("small", base) == base
    with pytest.raises(InputError, match="runs are not rewritten"):
        place_of("small", now.folder)


def test_an_update_without_a_difference_writes_nothing(base, now):
    before = {path: path.stat().st_mtime_ns for path in base.iterdir()}
    found = update(base, replace(now, target="small.yaml", engine={}, memsim="9"), ())
    assert not found.written and found.outcome.findings == ()
    assert {path: path.stat().st_mtime_ns for path in base.iterdir()} == before


def test_an_update_writes_and_tells_any_difference_whatever_the_tolerances(base, now, kept):
    before = contents(base)
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(1))
    found = update(base, replace(now, target="small.yaml"), ("* = 900%",))
    assert found.written
    assert [finding.kind for finding in found.outcome.findings] == ["better"]
    about = json.loads((base / "baseline.json").read_text())
    assert about.pop("tolerances") == ["* = 900%"]
    after = contents(base)
    assert {**after, "baseline.json": b""} == {**before, "baseline.json": b""}
    assert [path.name for path in base.parent.iterdir()] == ["small"]
    again = update(base, replace(now, target="small.yaml"), ("* = 900%",))
    assert not again.written


def test_an_update_keeps_tolerances_and_refuses_those_for_nothing(base, now):
    update(base, now, ("fallback.* = 5%",))
    update(base, now, ("numa.* = 5%", "fallback.* = interval"))
    assert read_baseline(base).tolerances == ("fallback.* = interval", "numa.* = 5%")
    before = contents(base)
    with pytest.raises(InputError, match="there is no figure"):
        update(base, now, ("fallbacks.* = 5%",))
    assert contents(base) == before


@pytest.mark.parametrize("when", [1, 2])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_update_that_is_interrupted_leaves_the_old(base, now, monkeypatch, error, when):
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(1))
    before, calls, rename = contents(base), [], type(base).rename

    def failing(self, target):
        calls.append(self)
        if len(calls) == when:
            raise error
        return rename(self, target)

    monkeypatch.setattr(type(base), "rename", failing)
    with pytest.raises((KeyboardInterrupt, InputError)):
        update(base, now, ())
    assert contents(base) == before
    assert [path.name for path in base.parent.iterdir()] == ["small"]


def test_an_update_that_was_killed_in_the_middle_leaves_the_old(base, now):
    before = contents(base)
    base.rename(base.with_name(".small.old"))
    shutil.copytree(now.folder, base.with_name(".small.new"))
    assert baselines_in(base.parent) == {"small": base}
    assert contents(base) == before
    edit(base / "trials.csv", 2, "pageblocks.mixed", plus(1))
    base.rename(base.with_name(".small.old"))
    settle(base)
    assert update(base, now, ()).written
    assert [path.name for path in base.parent.iterdir()] == ["small"]


def test_a_place_that_cannot_be_written_is_one_line(tmp_path, now):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written: Not a directory"):
        update(tmp_path / "file/small", now, ())
