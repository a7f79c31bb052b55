"""Pools of huge pages in scenarios: who gets how many, and what a mapping does without enough."""

import csv

import pytest

from memsim.errors import InputError
from memsim.load import load_text
from memsim.simulate import simulate

HEAD = "memsim: 1\nname: x\nduration: 1s\npolicies: {mobility: {placement: mobility}}\n"
TWO = "machine:\n  nodes:\n  - {id: 0, cpus: [0], memory: 64MiB}\n  - {id: 1, memory: 64MiB%s}\n"


def scenario(more, of_node=""):
    return load_text(HEAD + TWO % of_node + more, "x.yaml", ".")


def result(text, of_node=""):
    (trial,) = scenario(text, of_node).trials()
    return simulate(trial, check=True)


def test_pages_are_spread_over_the_nodes_that_say_nothing():
    assert scenario("  vm: {nr_hugepages: 5}\n").machine.huge_pages == (3, 2)
    assert scenario("  vm: {nr_hugepages: 5}\n", ", nr_hugepages: 4").machine.huge_pages == (5, 4)


@pytest.mark.parametrize(
    ("text", "of_node", "key"),
    [("  vm: {nr_hugepages: 70}\n", "", "x.yaml:9:22"), ("", ", nr_hugepages: 33", "x.yaml:8:42")],
)
def test_more_than_a_node_has_room_for_is_an_error(text, of_node, key):
    with pytest.raises(InputError, match="huge pages") as error:
        scenario(text, of_node)
    assert str(error.value).startswith(key)


def test_a_program_takes_its_pages_from_the_pool_and_gives_them_back():
    db = "workloads: {db: {kind: hugetlb, size: 16MiB, grow: 100ms, touch: 1000/s%s}}\n"
    kept = result("  vm: {nr_hugepages: 10}\n" + db % "")
    names = ("hugetlb.total", "hugetlb.free", "hugetlb.reserved", "numa.accesses")
    assert [kept.metrics[name] for name in names] == [10, 2, 0, 900]
    gone = result("  vm: {nr_hugepages: 10}\n" + db % ", exit: 500ms")
    assert [gone.metrics[name] for name in names] == [10, 10, 0, 400]


@pytest.mark.parametrize(
    ("pages", "bound", "why"),
    [(5, "", "the pool has too few huge pages left to map: ENOMEM"),
     (10, ", mem: {bind: [1]}", "its nodes have no huge page left: SIGBUS")],
)  # fmt: skip
def test_a_program_ends_without_enough_of_them(pages, bound, why):
    db = f"workloads: {{db: {{kind: hugetlb, size: 16MiB, grow: 100ms{bound}}}}}\n"
    ended = result(f"  vm: {{nr_hugepages: {pages}}}\n" + db)
    assert ended.notes == (f"db ended: {why}",)
    assert (ended.metrics["hugetlb.free"], ended.metrics["numa.accesses"]) == (pages, None)


def test_its_pages_move_to_another_node_and_the_pool_follows():
    text = (
        "  vm: {nr_hugepages: 10}\n"
        "workloads: {db: {kind: hugetlb, size: 8MiB, grow: 100ms, mem: {bind: [1]}}}\n"
        "events: [{at: 500ms, do: migrate_pages, workload: db, from: [1], to: [0]}]\n"
    )
    moved = result(text)
    names = ("migration.attempted", "migration.moved_direct", "hugetlb.total", "hugetlb.free")
    assert [moved.metrics[name] for name in names] == [4 * 512, 4 * 512, 10, 6]
    assert 0 < moved.metrics["numa.remote_ratio"] < 1


def test_scenario_hugetlb_db_needs_huge_pages_elsewhere(request):
    place = request.config.rootpath / "results/baselines/hugetlb-db/trials.csv"
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    gone = {row["machine.nodes.0.nr_hugepages"]: int(row["hotplug.blocks_removed"]) for row in rows}
    assert gone == {"0": 0, "96": 2, "192": 4}
    (last,) = [row for row in rows if row["machine.nodes.0.nr_hugepages"] == "192"]
    assert (int(last["hugetlb.total"]), int(last["hugetlb.free"])) == (192, 0)
