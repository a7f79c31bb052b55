"""The small pictures after a run: what they draw, and where they stay away."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from trials import SMALL, small

from memsim.cli._answer import print_answer
from memsim.cli._pictures import STRIP_WIDTH, bar, pictures, sparkline, strip
from memsim.execute import run
from memsim.results.answer import answer


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    return run(small(), out=tmp_path_factory.mktemp("made"))


def drawn(done):
    console = Console(file=io.StringIO(), width=100, force_terminal=True, color_system=None)
    for picture in pictures(done):
        console.print(picture)
    return console.file.getvalue()


def test_a_sparkline_has_eight_heights():
    assert sparkline([0, 1, 2, 3, 4, 5, 6, 7], 7) == "▁▂▃▄▅▆▇█"
    assert sparkline([0, 0], 0) == "▁▁"


@pytest.mark.parametrize(
    ("shares", "shown"),
    [
        pytest.param([1.0], "█" * 24, id="all"),
        pytest.param([0.5, 0.25], "█" * 18 + "░" * 6, id="parts"),
        pytest.param([1 / 3] * 3, "█" * 24, id="rounding"),
        pytest.param([], "░" * 24, id="nothing"),
    ],
)
def test_a_bar_is_as_long_as_its_shares(shares, shown):
    assert bar([(share, "green") for share in shares]).plain == shown


def test_names_stay_text(done):
    tables = {name: getattr(done, name) for name in ("high_order", "migration", "hotplug", "map")}
    timeline = done.timeline.replace({"policy": {"none": "[red]\x1b[2J"}})
    text = drawn(SimpleNamespace(manifest=done.manifest, timeline=timeline, **tables))
    assert "[red]\\x1b[2J" in text


def test_a_strip_has_heights_by_use_and_colours_by_type():
    drawn = strip("Uf0" + "M00" + "..." + "R70")
    assert drawn.plain == "█▁ ▄"
    assert [str(span.style) for span in drawn.spans] == ["red", "blue", "yellow"]
    assert len(strip("M00" * 1000)) == STRIP_WIDTH


def test_every_policy_is_drawn(done):
    text = drawn(done)
    assert "free memory over 100ms, seed 1" in text
    assert "memory at the end" in text
    assert "attempts that got a block, seed 1" in text
    order_9 = text[text.index("order 9") :].splitlines()
    rows = done.high_order.query("order == 9 and seed == 1")
    for line, (_, mine) in zip(order_9, rows.groupby("policy", sort=False), strict=False):
        assert f"{mine['succeeded'].sum()} of {mine['attempted'].sum()}" in line


def test_a_run_with_axes_has_none(tmp_path):
    text = SMALL.replace("seeds: 1..2", "seeds: [1]\naxes:\n  workloads.app.anon: [1MiB, 2MiB]")
    assert pictures(run(small(text), out=tmp_path)) == []


def test_a_pipe_gets_no_pictures(done, capsys):
    print_answer("table", answer(done), done, small(), [])
    assert "▁" not in capsys.readouterr().out
