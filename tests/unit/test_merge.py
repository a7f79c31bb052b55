"""Parts of a run that were made apart give the bytes of the whole, and nothing else is a part."""

import hashlib
import json
import shutil

import pytest
from trials import SMALL, small

from memsim.errors import InputError
from memsim.execute import run
from memsim.load.document import read_yaml
from memsim.results import read_results, save
from memsim.results.merge import merge
from memsim.results.store import TRIALS
from memsim.simulate import TrialResult
from memsim.verify import verify

BOOST = "machine.vm.watermark_boost_factor"
SWEEP = SMALL.replace("events:", f"axes:\n  {BOOST}: [300, 0, 15000]\nevents:").replace(
    "seeds: 1..2", "seeds: [2, 1]"
)
SWEEP += "expect: [pageblocks.mixed >= 0 for none, pageblocks.mixed >= 0 for mobility]\n"


def part(results, text=SMALL, **options):
    return run(small(text, **options), out=results)


def joined(runs, out, text=SMALL, **options):
    return merge(runs, out, source=read_yaml(text, "small.yaml").data, **options)


def same_files(one, two):
    names = sorted(path.name for path in one.folder.iterdir())
    assert names == sorted(path.name for path in two.folder.iterdir())
    assert len(names) == 11
    return all(
        (one.folder / name).read_bytes() == (two.folder / name).read_bytes()
        for name in names
        if name != "manifest.json"
    )


def on_axis(*values):
    return {"sets": [f"axes={{{BOOST}: {list(values)}}}"]}


WAYS = {
    "policies": [{"policies": ("mobility",)}, {"policies": ("none",)}],
    "seeds": [{"seeds": "1"}, {"seeds": "2"}],
    "overlap": [{"seeds": "2"}, {"seeds": "1..2", "policies": ("none",)}, {"seeds": "1"}],
}
POINTS = {
    "points": [on_axis(15000), on_axis(0), on_axis(300)],
    "points and seeds": [
        on_axis(0, 15000), on_axis(300) | {"seeds": "1"}, on_axis(300) | {"seeds": "2"},
    ],
}  # fmt: skip


@pytest.mark.parametrize("ways", WAYS.values(), ids=WAYS)
def test_parts_of_a_run_give_the_bytes_of_the_whole(results, tmp_path, ways):
    whole = part(results)
    parts = [part(results, **options) for options in ways]
    shutil.copytree(results / "small", tmp_path / "elsewhere/small")
    copies = [read_results(tmp_path / "elsewhere/small" / one.folder.name) for one in parts]
    found = joined(copies, tmp_path / "merged")
    assert same_files(found, whole)
    assert found.folder.name == whole.folder.name
    for key in ("trials", "files", "engine", "seeds", "policies", "text_hash", "plugins"):
        assert found.manifest[key] == whole.manifest[key]
    assert found.manifest["missing"] == []
    assert [m["host"] for m in found.manifest["merged"]] == [p.manifest["host"] for p in parts]
    assert not (tmp_path / "merged" / TRIALS).exists()


@pytest.mark.parametrize("ways", [*WAYS.values(), *POINTS.values()], ids=[*WAYS, *POINTS])
def test_parts_of_a_sweep_give_the_bytes_of_the_whole(results, tmp_path, ways):
    whole = part(results, SWEEP)
    found = joined([part(results, SWEEP, **way) for way in ways], tmp_path, SWEEP)
    assert same_files(found, whole)
    assert found.manifest["trials"] == whole.manifest["trials"]


def test_a_merged_run_can_be_verified_and_run_again(results, tmp_path):
    found = joined([part(results, seeds="1"), part(results, seeds="2")], tmp_path)
    assert verify(found).count == 0
    assert run(small(), out=tmp_path).manifest["kept_trials"] == 0


def test_what_is_missing_is_said_and_the_place_is_not_that_of_the_whole(results, tmp_path):
    parts = [part(results, seeds="1"), part(results, seeds="2", policies=("none",))]
    found = joined(parts, tmp_path)
    assert [(t["policy"], t["seed"]) for t in found.manifest["trials"]] == [
        ("none", 1), ("none", 2), ("mobility", 1),
    ]  # fmt: skip
    assert found.manifest["missing"] == [{"policy": "mobility", "point": {}, "seed": 2}]
    assert found.folder.name != part(results).folder.name
    assert list(found.trials.seed) == [1, 2, 1]
    assert verify(found).count == 0


@pytest.mark.parametrize("text", [SMALL, SWEEP], ids=["small", "sweep"])
def test_runs_without_a_trial_that_went_well_are_merged(tmp_path, text):
    def part_of(seeds, name):
        scenario = small(text, seeds=seeds)
        finished = [(trial, TrialResult("failed", "no")) for trial in scenario.trials()]
        save(tmp_path / name / "run", scenario, finished, {"started": "", "wall_time_s": 0})
        return read_results(tmp_path / name / "run")

    found = joined([part_of("1", "one"), part_of("2", "two")], tmp_path / "out", text)
    assert same_files(found, part_of("1..2" if text == SMALL else "2,1", "whole"))
    assert len(found.vmstat) == len(found.timeline) == 0
    assert found.failed == len(found.trials)


def test_what_the_file_does_not_say_follows_as_it_comes(results, tmp_path):
    runs = [part(results, SWEEP, **on_axis(7)), part(results, SWEEP, **on_axis(5))]
    runs += [
        part(results, SWEEP, **on_axis(0)),
        part(results, SWEEP, **on_axis(7) | {"seeds": "3"}),
    ]
    found = joined(runs, tmp_path, SWEEP)
    assert found.scenario.axes[BOOST] == (0, 7, 5)
    assert found.scenario.seeds == (1, 2, 3)


def test_nothing_is_replaced_without_force(results, tmp_path):
    runs = [part(results, seeds="1"), part(results, seeds="2")]
    found = joined(runs, tmp_path)
    stamp = (found.folder / "manifest.json").stat().st_mtime_ns
    with pytest.raises(InputError, match=r"there already\n.*--force"):
        joined(runs, tmp_path)
    assert (found.folder / "manifest.json").stat().st_mtime_ns == stamp
    assert same_files(joined(runs, tmp_path, force=True), found)


def changed(run, tmp_path, change, files=()):
    """A copy of a run with other files, whose manifest says something else."""
    folder = tmp_path / "copy" / run.folder.name
    shutil.copytree(run.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    for name, content in files:
        (folder / name).write_bytes(content)
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return read_results(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param(SMALL.replace("100ms", "90ms"), "another scenario: duration", id="duration"),
        pytest.param(SMALL.replace("64MiB", "68MiB"), "another scenario: machine", id="machine"),
        pytest.param(SMALL.replace("placement: none", "placement: mobility"), "another policy none",
                     id="policy"),
        pytest.param(SMALL + f"axes: {{{BOOST}: [0]}}\n", "other axes", id="axes"),
    ],
)  # fmt: skip
def test_runs_of_other_scenarios_are_refused(results, tmp_path, text, message):
    with pytest.raises(InputError, match=f"has .*{message}.* than .*\n.*hint: merge takes parts"):
        joined([part(results, seeds="1"), part(results, text, seeds="2")], tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda m: m.update(simulator="0" * 64), "other sources of memsim, or another",
                     id="simulator"),
        pytest.param(lambda m: m["engine"].update(none="0" * 64), "other sources .* policy none",
                     id="engine"),
        pytest.param(lambda m: m["columns"]["numa.hit"].update(unit="x"), "other metrics",
                     id="metrics"),
    ],
)  # fmt: skip
def test_runs_of_other_sources_are_refused(results, tmp_path, change, message):
    other = changed(part(results, seeds="2"), tmp_path, change)
    with pytest.raises(InputError, match=message):
        joined([part(results, seeds="1"), other], tmp_path / "out")


def test_the_same_trial_must_have_the_same_name(results, tmp_path):
    def change(manifest):
        manifest["trials"][0].update(name="0" * 64)
        manifest["trials"][0]["parts"].update(machine="x")

    other = changed(part(results, seeds="1"), tmp_path, change)
    with pytest.raises(InputError, match="trial none, 1 was made of another machine than in"):
        joined([part(results), other], tmp_path / "out")


@pytest.mark.parametrize("table", ["trials", "high_order", "vmstat"])
def test_the_same_trial_must_have_the_same_rows(results, tmp_path, table):
    name = f"{table}.csv"
    lines = (part(results, seeds="1").folder / name).read_text().splitlines()
    lines[-1] = lines[-1][: lines[-1].rindex(",")] + ",77"
    text = "\n".join(lines) + "\n"
    other = changed(
        part(results, seeds="1"), tmp_path, lambda manifest: None, [(name, text.encode())]
    )
    with pytest.raises(InputError, match=f"trial mobility, 1 has other rows in {table}.csv than"):
        joined([part(results), other], tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(lambda t: [*t[:2], t[-1], t[2]], "not one after the other", id="mixed"),
        pytest.param(lambda lines: ["x" + lines[0], *lines[1:]], "columns are others", id="head"),
        pytest.param(lambda lines: [*lines, "x" + lines[-1]], "trials are others", id="trial"),
        pytest.param(lambda lines: [*lines, "x"], "no table of memsim's", id="short"),
        pytest.param(lambda lines: [], "no table of memsim's", id="empty"),
    ],
)
def test_a_table_that_is_not_that_of_its_trials_is_one_sentence(results, tmp_path, change, message):
    lines = (part(results).folder / "vmstat.csv").read_bytes().splitlines()
    text = "\n".join(change([line.decode() for line in lines])) + "\n"
    other = changed(part(results), tmp_path, lambda m: None, [("vmstat.csv", text.encode())])
    with pytest.raises(InputError, match=f"vmstat.csv: .*{message}"):
        joined([part(results, seeds="1"), other], tmp_path / "out")
