"""Every figure says what it lacks, or draws, and says the same in a sentence."""

import ast
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner
from trials import SMALL, small

from memsim.cli import main
from memsim.errors import InputError
from memsim.execute import run
from memsim.plots import draw, find, offered, title
from memsim.plots._frames import over_seeds
from memsim.plots._rendering import inline_svg, page, rendered
from memsim.results import save
from memsim.simulate import TrialResult

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"
MOVES = (
    SMALL.replace("title: ", "x: ")
    .replace("{id: 0, cpus: 0-1, memory: 64MiB}", "{id: 0, cpus: 0-1, memory: 128MiB}, "
             "{id: 1, cpus: 2-3, memory: 384MiB, hotpluggable: true}")
    .replace("grow: 60ms}", "grow: 20ms, nodes: [0], touch: {rate: 100000/s}}")
    + "  - {at: 40ms, do: migrate_pages, workload: app, from: [0], to: [1]}\n"
    + "  - {at: 80ms, do: offline, name: unplug, node: 1}\n"
)  # fmt: skip
SWEEP = SMALL + "axes:\n  workloads.app.anon: [1MiB, 2MiB, 4MiB]\n"
GRID = SWEEP + "  machine.vm.watermark_boost_factor: [0, 15000]\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs that together have data for every figure."""
    out = tmp_path_factory.mktemp("results")
    texts = {"small": SMALL, "moves": MOVES, "sweep": SWEEP}
    return {name: run(small(text), out=out / name) for name, text in texts.items()}


WITH_DATA = {
    "small": {"high-order", "free-blocks", "fragmentation", "memory-map", "answer"},
    "moves": {"migration", "swap-fallback", "locality", "hot-remove", "certainty", "removable"},
    "sweep": {"sweep", "high-order", "free-blocks"},
}


def test_every_figure_is_drawn_by_some_test():
    assert set.union(*WITH_DATA.values()) == set(offered())


@pytest.mark.parametrize("name", offered())
def test_a_figure_declares_itself(name):
    figure = find(name)
    assert title(name).endswith(".") and len(title(name)) <= 100
    assert len(figure.MISSING) > 10 and len(figure.HINT) > 10
    tree = ast.parse(Path(figure.__file__).read_text(encoding="utf-8"))
    assert {"rows", "chart", "told"} <= {
        n.name for n in tree.body if isinstance(n, ast.FunctionDef)
    }


@pytest.mark.parametrize(
    ("of", "name"), [(of, n) for of in WITH_DATA for n in sorted(WITH_DATA[of])]
)
def test_a_figure_is_drawn_and_told(made, of, name):
    drawing = draw(made[of], name)
    svg = inline_svg(drawing)
    root = ElementTree.fromstring(svg)
    assert root.get("role") == "img" and drawing.text in root.get("aria-label")
    assert len(drawing.text) > 20 and "nan" not in drawing.text
    assert not re.search(r'="https?://(?!www\.w3\.org/)', svg)
    assert list(drawing.rows.columns[:2]) == ["policy", "point"]


LACKING = [
    ("small", name) for name in ("migration", "sweep", "removable", "hot-remove", "certainty")
]


@pytest.mark.parametrize(("of", "name"), [*LACKING, ("sweep", "memory-map")])
def test_what_is_missing_and_what_would_record_it_is_one_line(made, of, name):
    with pytest.raises(InputError) as refused:
        draw(made[of], name)
    message, hint = str(refused.value).split("\n")
    assert f"has no data for figure {name}: {find(name).MISSING}" in message
    assert hint == f"  hint: {find(name).HINT}"


def test_parts_of_a_figure_can_be_chosen(made):
    assert set(draw(made["small"], "high-order", policies=("none",)).rows.policy) == {"none"}
    drawing = draw(made["sweep"], "free-blocks", points=("2MiB",))
    assert set(drawing.rows.point) == {"2MiB"}
    with pytest.raises(InputError, match="no data"):
        draw(made["small"], "high-order", policies=("nobody",))


def test_two_axes_make_a_heat_map(tmp_path):
    drawing = draw(run(small(GRID, seeds="1"), out=tmp_path), "sweep")
    assert '"rect"' in drawing.chart.to_json()
    assert {"0", "15000"} == set(drawing.rows.y)


def test_a_run_whose_trials_all_failed_has_nothing_to_show(tmp_path):
    scenario = small()
    failed = [(trial, TrialResult("failed", "no room")) for trial in scenario.trials()]
    folder = tmp_path / "small" / "12345678"
    save(folder, scenario, failed, {"started": "now", "wall_time_s": 0.0})
    result = CliRunner().invoke(
        main, ["plot", str(folder), "--figure", "high-order", "-o", "x.png"]
    )
    assert result.exit_code == 2
    assert "all 4 trials failed" in result.stderr and "no room" in result.stderr


def test_means_have_the_interval_of_student(made):
    import pandas

    table = pandas.DataFrame({"policy": ["a", "a", "b"], "v": [1.0, 3.0, 5.0]})
    rows = over_seeds(table, ["policy"], "v")
    assert rows["mean"].tolist() == [2.0, 5.0] and rows.seeds.tolist() == [2, 1]
    # Of two values: the quantile 12.7062 times half their distance.
    assert rows.high[0] == pytest.approx(2 + 12.7062, abs=1e-4)
    assert rows.low.isna().tolist() == [False, True]


def test_hostile_text_stays_text(made):
    drawing = draw(made["small"], "high-order")
    rows = drawing.rows.assign(policy=HOSTILE, phase=HOSTILE + "\x1b[31m")
    figure = find("high-order")
    odd = type(drawing)("high-order", HOSTILE, rows, figure.chart(rows), figure.told(rows))
    text = page(odd)
    assert "<img" not in text and "</script" not in text and "\x1b" not in text
    assert "&lt;img" in text
    ElementTree.fromstring(inline_svg(odd))


def test_files_of_each_form(made, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = str(made["small"].folder)
    for name, head in (("x.png", b"\x89PNG"), ("x.svg", b"<svg"), ("x.html", b"<!DOCTYPE html>")):
        result = CliRunner().invoke(main, ["plot", folder, "--figure", "high-order", "-o", name])
        assert result.exit_code == 0, result.output
        assert "At order 9, attempts that succeeded: none" in result.stdout
        assert Path(name).read_bytes().startswith(head)
    wrong = CliRunner().invoke(main, ["plot", folder, "--figure", "high-order", "-o", "x.gif"])
    assert (
        wrong.exit_code == 2 and "x.gif: expected a file name that ends with .png" in wrong.stderr
    )
    odd = CliRunner().invoke(main, ["plot", folder, "--figure", "hihg-order", "-o", "x.png"])
    assert odd.exit_code == 2 and 'did you mean "high-order"?' in odd.stderr


def test_the_same_run_gives_the_same_bytes(made):
    drawing = draw(made["small"], "free-blocks")
    again = draw(made["small"], "free-blocks")
    assert rendered(drawing, "svg") == rendered(again, "svg")


def test_figures_are_listed_without_altair():
    code = (
        "import sys; sys.modules['altair'] = None\n"
        "from memsim.cli import main\n"
        "sys.argv = ['memsim', 'list', 'figures']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()] == list(offered())


def test_without_the_extra_it_is_said_what_to_install(made):
    code = (
        "import sys; sys.modules['altair'] = None\n"
        "from memsim.cli import main\n"
        f"sys.argv = ['memsim', 'plot', {str(made['small'].folder)!r}, '--figure', 'high-order', "
        "'-o', 'x.png']\nmain()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert "pictures need altair" in done.stderr and "memsim[report]" in done.stderr
