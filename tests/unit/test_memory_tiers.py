"""Which nodes are slower, and what a scenario makes of that (spec linux-mm 8.1, 8.6)."""

import csv

import pytest

from memsim.errors import InputError
from memsim.kernels.system import N_DEMOTION_MASK, N_DEMOTION_NODE, NODE_FIELDS
from memsim.load import load_text
from memsim.memory.balancing import slower_nodes
from memsim.memory.start import start
from memsim.mm_init.memory_tiers import demotion_targets
from memsim.policies import LINUX_6_1, mobility
from memsim.scenario.cmdline import Cmdline
from memsim.scenario.machine import Machine, Node, Vm

MIB = 1 << 20


def test_pages_go_to_the_nearest_node_without_cpus_then_to_the_others():
    distances = ((10, 20, 40, 30), (20, 10, 30, 30), (40, 30, 10, 20), (30, 30, 20, 10))
    targets = demotion_targets((4, 4, 0, 0), (1, 1, 1, 1), distances)
    assert targets == ((3, 2), (2, 3), (), ())


def test_a_node_without_memory_is_no_tier():
    assert demotion_targets((1, 0), (1, 0), ((10, 20), (20, 10))) == ((), ())


@pytest.mark.parametrize(("enabled", "target"), [(False, 0), (True, 2)])
def test_a_machine_knows_its_slower_nodes_and_demotes_if_told_to(enabled, target):
    nodes = (Node(id=0, cpus=(0,), memory=64 * MIB), Node(id=1, memory=64 * MIB))
    machine = Machine(nodes=nodes, vm=Vm(demotion_enabled=enabled))
    memory = start(machine, "linux-6.1", Cmdline(), mobility.Policy().tables(LINUX_6_1), ".")
    row = memory.mem.nodes[:NODE_FIELDS]
    assert (row[N_DEMOTION_NODE], row[N_DEMOTION_MASK]) == (target, 0b10)
    assert slower_nodes(memory) == (1,)


def test_demotion_without_slower_memory_is_an_error():
    text = (
        "memsim: 1\nname: x\nduration: 1s\npolicies: {none: {placement: none}}\n"
        "machine:\n  nodes: [{id: 0, cpus: [0], memory: 64MiB}]\n  vm: {demotion_enabled: true}\n"
    )
    with pytest.raises(InputError, match="there is no slower memory to move pages to"):
        load_text(text, "x.yaml", ".")


def test_scenario_cxl_demotion_swaps_nothing_and_accesses_wait_less_with_it(request):
    place = request.config.rootpath / "results/baselines/cxl-demotion/trials.csv"
    with place.open(newline="") as file:
        rows = list(csv.DictReader(file))
    cost = {
        (row["machine.vm.demotion_enabled"], row["machine.vm.numa_balancing"]): (
            int(row["reclaim.swapped_out"]),
            float(row["numa.access_ns"]) + float(row["numa.wait_ns"]),
        )
        for row in rows
    }
    assert cost["true", "false"][0] == 0 < cost["false", "false"][0]
    assert cost["true", "true"][1] < cost["true", "false"][1] < cost["false", "false"][1]
