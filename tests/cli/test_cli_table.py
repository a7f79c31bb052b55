"""The table of a run: points of axes above metrics, or below them where there are many."""

from memsim.cli._answer import FEW_POINTS, as_table
from memsim.results.answer import Answer, AnswerRow
from memsim.schema import Column

LOST = Column("lost", "1", "pages that are gone", better="lower")
KEPT = Column("kept", "1", "pages that are there", better="higher")


def table(points):
    rows = [
        AnswerRow((("machine.cma", f"{n}MiB"), ("duration", "1s")), column.name, column, means)
        for n in range(points)
        for column, means in ((LOST, (n, 1000 * n)), (KEPT, (7, 7)))
    ]
    return as_table(Answer(("none", "mobility"), tuple(rows)), width=60, color=False).splitlines()


def test_few_points_stand_above_their_metrics():
    lines = table(FEW_POINTS)
    assert lines[:4] == [
        "        none  mobility",
        "machine.cma = 0MiB, duration = 1s",
        "  lost     0         0   pages that are gone",
        "  kept     7         7   pages that are there",
    ]
    assert len(lines) == 1 + 3 * FEW_POINTS


def test_many_points_make_a_curve_of_each_metric():
    assert table(FEW_POINTS + 1) == [
        "  machine.cma, duration  none  mobility",
        "lost   pages that are gone",
        "  0MiB, 1s                  0         0",
        "  1MiB, 1s                  1     1,000",
        "  2MiB, 1s                  2     2,000",
        "  3MiB, 1s                  3     3,000",
        "  4MiB, 1s                  4     4,000",
        "kept: 7 everywhere   pages that are there",
    ]
