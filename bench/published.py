"""What was published of the designs of 2005, and which phase of which scenario repeats it.

Blocks that could be had, by policy; source: the mails that docs/history.md names (spec history-2005
1.2, 1.4, 1.6, 4.1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    """One phase of a test: what each policy got of how many attempts."""

    label: str
    phase: str
    attempts: int
    published: dict[str, str]
    """By policy: blocks, and those of each zone where they were given."""


@dataclass(frozen=True)
class Table:
    """One published table."""

    scenario: str
    rows: tuple[Row, ...]


TABLES = (
    Table(
        "t1-full",
        (
            Row("load, V18", "load pass 1", 160, {"none": "22: 1/5/16", "full": "41: 0/5/36"}),
            Row("load, V19", "load pass 1", 160, {"none": "30: 0/7/23", "full": "76: 1/30/45"}),
            Row("rest, V18", "rest", 160, {"none": "42", "full": "152"}),
            Row("rest, V19", "rest", 160, {"none": "45", "full": "159"}),
        ),
    ),
    Table(
        "t1-usemap",
        (
            Row("load, V20", "load pass 1", 160, {"none": "73: 0/22/51", "usemap": "96: 0/30/66"}),
            Row("rest, V20", "rest", 160, {"none": "78", "usemap": "102"}),
        ),
    ),
    Table(
        "t1-flag",
        (
            Row("load, V21", "load pass 1", 275, {"none": "79: 1/4/74", "flag": "98: 1/2/95"}),
            Row("rest, V21", "rest", 384, {"none": "102", "flag": "296"}),
        ),
    ),
    Table(
        "t3",
        (
            Row(
                "load, pass 1",
                "load pass 1",
                275,
                {"none": "60: 1/5/54/0", "v22": "86: 1/0/85/0", "zone": "106: 1/8/0/97"},
            ),
            Row(
                "load, pass 2",
                "load pass 2",
                275,
                {"none": "101: 1/5/95/0", "v22": "103: 1/0/102/0", "zone": "154: 1/8/0/145"},
            ),
            Row(
                "rest",
                "rest",
                275,
                {"none": "141: 1/16/124/0", "v22": "242: 1/83/158/0", "zone": "212: 1/8/0/203"},
            ),
        ),
    ),
    Table(
        "t5",
        (
            Row("load", "load", 499, {"none": "33: 2/31", "mobility": "361: 2/359"}),
            Row("rest", "rest", 499, {"none": "154", "mobility": "366"}),
        ),
    ),
)
