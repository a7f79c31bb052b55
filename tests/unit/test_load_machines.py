"""Machines of other kernels in scenario files: what is refused, and machine files."""

import pytest

from memsim.errors import InputError
from memsim.load import load_scenario, load_text, shipped_machines
from memsim.memory.start import kernel_of, start
from memsim.policies import none
from memsim.scenario.cmdline import parse_cmdline

OLD = """\
memsim: 1
name: old
duration: 1s
policies:
  none: {placement: none}
  light: {placement: light}
machine:
  profile: linux-2.6.14
  nodes:
    - {id: 0, cpus: 0, memory: 64MiB}
    - {id: 1, cpus: [], memory: 64MiB}
"""
NODES = OLD[OLD.index("  nodes:") :]
ONE = "  nodes: [{id: 0, cpus: 0, memory: 64MiB}]\n"


def complaints(text, directory=".", **options):
    with pytest.raises(InputError) as error:
        load_text(text, "x.yaml", directory, **options)
    return str(error.value)


def replaced(*pairs):
    text = OLD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    return text


CASES = [
    ("arch of another kernel", [("linux-2.6.14", "linux-6.1\n  arch: i386"), (NODES, ONE),
                                ("  light: {placement: light}\n", "")],
     'x.yaml:8:9: profile "linux-6.1" has no i386\n  hint: it runs on x86-64'),
    ("arch of no kernel", [("linux-2.6.14", "linux-2.6.14\n  arch: arm")],
     'x.yaml:9:9: arch: expected "x86-64", "i386" or "ppc64", found "arm"'),
    ("profile of a policy", [("light}", "light, profile: linux-2.6.16}")],
     'x.yaml:6:38: profile "linux-2.6.16" is not in this version\n'
     '  hint: did you mean "linux-2.6.21"?'),
    ("policy of 2005 on 6.1", [("linux-2.6.14", "linux-6.1")],
     'x.yaml:6:22: placement "light" does not go with profile "linux-6.1": its free lists and '
     "per-CPU lists are those of grouping by mobility\n"
     "  hint: it goes with linux-2.6.14, linux-2.6.14-mm, linux-2.6.15"),
    ("mobility in 2005", [("placement: light", "placement: mobility")],
     'x.yaml:6:22: placement "mobility" does not go with profile "linux-2.6.14": its allocator is '
     "older than grouping by mobility, which came with 2.6.24\n"
     "  hint: it goes with linux-6.1, linux-2.6.21"),
    ("CMA", [("  nodes:", "  cma: 16MiB\n  nodes:")],
     'x.yaml:9:3: profile "linux-2.6.14" has no cma\n  hint: CMA came with Linux 3.5'),
    ("boost", [("  nodes:", "  vm: {watermark_boost_factor: 0}\n  nodes:")],
     'x.yaml:9:8: profile "linux-2.6.14" has no watermark_boost_factor\n'
     "  hint: watermarks are boosted since Linux 5.0"),
    ("DIMMs", [("64MiB}\n    - {id: 1", "64MiB, dimms: [{size: 1GiB}]}\n    - {id: 1")],
     'x.yaml:10:39: profile "linux-2.6.14" has no dimms\n'
     "  hint: memory cannot be added to it; hotpluggable: true marks a node to be removed"),
    ("reserve ratio", [("  nodes:", "  vm: {lowmem_reserve_ratio: [256, 256, 32, 0]}\n  nodes:")],
     'x.yaml:9:30: profile "linux-2.6.14" has no lowmem_reserve_ratio of 4 entries\n'
     "  hint: it has 2: DMA, NORMAL"),
    ("profile of a policy lacks what the machine asks for",
     [("linux-2.6.14\n", "linux-6.1\n  cma: 16MiB\n"), ("light}", "light, profile: linux-2.6.15}")],
     'x.yaml:6:38: profile "linux-2.6.15" has no cma, which the machine asks for\n'
     "  hint: CMA came with Linux 3.5"),
    ("movable node", [("light}", "light, cmdline: movable_node}")],
     'x.yaml:6:38: profile "linux-2.6.14" has no movable_node\n'
     "  hint: ZONE_MOVABLE came with 2.6.23; kernelcore=SIZE makes a ZONE_EASYRCLM"),
    ("transparent huge pages", [("light}", "light, cmdline: transparent_hugepage=never}")],
     'x.yaml:6:38: profile "linux-2.6.14" has no transparent_hugepage\n'
     "  hint: transparent huge pages came with Linux 2.6.38"),
    ("percentage", [("light}", "light, cmdline: kernelcore=30%}")],
     'x.yaml:6:38: profile "linux-2.6.14" has no kernelcore in percent\n'
     "  hint: for example kernelcore=512M"),
    ("capture", [(NODES, "  from: .\n")],
     'x.yaml:9:3: profile "linux-2.6.14" has no captures\n'
     "  hint: a capture is the state of a Linux 6.1"),
    ("capture and arch", [(NODES, "  from: .\n  arch: i386\n")],
     'x.yaml:10:3: "arch" is what the capture says\n  hint: leave it out beside "from"'),
    ("two nodes of i386", [("linux-2.6.14\n", "linux-2.6.14\n  arch: i386\n")],
     "x.yaml:10:3: an i386 machine has one node, found 2"),
    ("more than PAE reaches",
     [("linux-2.6.14\n", "linux-2.6.14\n  arch: i386\n"), (NODES, ONE.replace("64MiB", "65GiB"))],
     "x.yaml:10:3: the machine has 65GiB of memory\n  hint: expected 16MiB to 64GiB"),
    ("MAX_ORDER", [("linux-2.6.14\n", "linux-2.6.14\n  max_order: 12\n")],
     "x.yaml:9:14: max_order: expected 11 on x86-64, found 12"),
    ("largest block", [("linux-2.6.14\n", "linux-2.6.14\n  arch: ppc64\n"),
                       ("memory: 64MiB}\n    - {id: 1", "memory: 56MiB}\n    - {id: 1")],
     "x.yaml:11:32: memory is not a multiple of 16MiB\n  hint: found 56MiB"),
    ("order of an event", [(NODES, NODES + "events: [{at: 0s, do: probe, orders: 11}]\n")],
     "x.yaml:12:38: expected orders from 0 to 10, found 11"),
    ("order of a workload", [(NODES, NODES + "workloads: {a: {kind: high_order, orders: 11}}\n")],
     "x.yaml:12:43: expected orders from 0 to 10, found [11]"),
    ("too small to boot 6.1",
     [("linux-2.6.14", "linux-6.1"), (NODES, ONE.replace("64MiB", "32MiB")),
      ("  light: {placement: light}\n", "")],
     "x.yaml:8:3: does not boot: the kernel image does not fit into RAM: it needs pfn 0 to 14353\n"
     "  hint: give the first node at least 64 MiB below 4 GiB"),
    ("no node for the kernel core", [("none}", "none, cmdline: kernelcore=100M}")],
     "x.yaml:9:3: does not boot: no node can hold the kernel core of 25600 pages\n"
     "  hint: the largest node has 16384 pages: kernelcore must be at most that"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_what_a_kernel_does_not_have_is_refused(changes, complaint):
    assert complaints(replaced(*changes)) == complaint


def test_a_machine_of_2005_is_valid():
    scenario = load_text(OLD, "x.yaml", ".")
    assert scenario.machine.max_page_order == 10
    assert {trial.profile for trial in scenario.trials()} == {"linux-2.6.14"}


@pytest.mark.parametrize(
    ("profile", "ratio"), [("linux-2.6.14", [256, 32]), ("linux-2.6.15", [256, 256, 32])]
)
def test_reserve_ratios_of_2005(profile, ratio):
    text = replaced(
        ("linux-2.6.14", profile),
        ("  nodes:", f"  vm: {{lowmem_reserve_ratio: {ratio}}}\n  nodes:"),
    )
    machine = load_text(text, "x.yaml", ".").machine
    tables = none.Policy().tables(kernel_of(machine, profile))
    memory = start(machine, profile, parse_cmdline(""), tables, ".")
    normal = memory.setup.zones[1].present
    assert memory.setup.zones[0].lowmem_reserve[2] == normal // 256


def test_order_12_can_be_probed_on_ppc64():
    text = replaced(("linux-2.6.14\n", "linux-2.6.14\n  arch: ppc64\n"))
    events = "events: [{at: 0s, do: probe, orders: [10, 12]}]\n"
    assert load_text(text + events, "x.yaml", ".").events[0].orders == (10, 12)


FILE = """\
title: a small one
profile: linux-2.6.14
arch: i386
nodes:
  - {id: 0, cpus: 0, memory: 64MiB}
vm: {min_free_kbytes: 1024}
"""
LIKE = """\
memsim: 1
name: like
duration: 1s
policies: {none: {placement: none}}
machine: {like: small.yaml}
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "small.yaml").write_text(FILE)
    return tmp_path


def test_shipped_machine_files():
    assert list(shipped_machines()) == ["ppc64-6g", "x86-highmem-1.5g"]
    for name, arch, pages in (("ppc64-6g", "ppc64", 1572864), ("x86-highmem-1.5g", "i386", 393216)):
        machine = load_text(LIKE.replace("small.yaml", name), "x.yaml", ".").machine
        assert (machine.profile, machine.arch) == ("linux-2.6.14", arch)
        assert machine.total == pages << 12


def test_keys_of_the_scenario_replace_those_of_the_file(folder):
    text = LIKE.replace("small.yaml}", "small.yaml, vm: {swappiness: 100}}")
    machine = load_text(text, "x.yaml", str(folder)).machine
    assert (machine.arch, machine.total, machine.vm.swappiness) == ("i386", 64 << 20, 100)
    assert machine.vm.min_free_kbytes == "auto"


def test_a_path_is_relative_to_the_scenario(folder):
    (folder / "s.yaml").write_text(LIKE)
    assert load_scenario(folder / "s.yaml").machine.arch == "i386"


def test_set_reaches_the_keys_of_the_file(folder):
    sets = ["machine.nodes.0.memory=128MiB"]
    assert load_text(LIKE, "x.yaml", str(folder), sets=sets).machine.total == 128 << 20


@pytest.mark.parametrize("which", ["machine.like=ppc64-6g", "machine={like: ppc64-6g}"])
def test_set_takes_another_machine(folder, which):
    sets = [which, "machine.max_order=12"]
    machine = load_text(LIKE, "x.yaml", str(folder), sets=sets).machine
    assert (machine.arch, machine.max_page_order) == ("ppc64", 11)


def test_the_content_of_the_file_names_the_trial(folder):
    def name():
        return next(load_text(LIKE, "x.yaml", str(folder)).trials()).name

    before = name()
    assert name() == before
    (folder / "small.yaml").write_text(FILE.replace("64MiB", "128MiB"))
    assert name() != before


def test_an_axis_of_a_machine_file_works_like_any_other(folder):
    text = LIKE + "axes: {machine.nodes.0.memory: [64MiB, 128MiB]}\n"
    totals = [t.scenario.machine.total for t in load_text(text, "x.yaml", str(folder)).trials()]
    assert totals == [64 << 20, 128 << 20]


FILE_CASES = [
    ("value", FILE.replace("64MiB", "64MB"),
     'DIR/small.yaml:5:30: expected a size such as 8GiB, 512MiB or 4096, found "64MB"'),
    ("unknown key", FILE.replace("arch", "arhc"),
     'DIR/small.yaml:3:1: unknown key "arhc"\n  hint: did you mean "arch"?'),
    ("rule", FILE.replace("64MiB", "63MiB"),
     "DIR/small.yaml:5:30: memory is not a multiple of 4MiB\n  hint: found 63MiB"),
    ("kernel", FILE + "cma: 4MiB\n",
     'DIR/small.yaml:7:1: profile "linux-2.6.14" has no cma\n  hint: CMA came with Linux 3.5'),
    ("YAML", "a: 1\na: 2\n",
     'DIR/small.yaml:2:1: key "a" appears twice\n  hint: the first one is in line 1'),
    ("a list", "- 1\n", "DIR/small.yaml:1:1: expected the keys of a machine, found a list"),
    ("empty", "", "DIR/small.yaml:1:1: expected the keys of a machine, found an empty file"),
    ("like", FILE + "like: other\n",
     'DIR/small.yaml:7:1: "like" has no place in a machine file\n'
     "  hint: a machine file cannot be like another"),
    ("capture", "from: .\n", 'DIR/small.yaml:1:1: "from" has no place in a machine file\n'
     "  hint: a machine file describes a machine that boots"),
    ("title", FILE.replace("a small one", "7"),
     "DIR/small.yaml:1:8: title: expected text, found 7"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "complaint"), [pytest.param(*case[1:], id=case[0]) for case in FILE_CASES]
)
def test_mistakes_in_a_machine_file_have_its_line(folder, text, complaint):
    (folder / "small.yaml").write_text(text)
    wanted = complaint.replace("DIR", str(folder))
    assert complaints(LIKE, str(folder)) == wanted


@pytest.mark.parametrize(
    ("like", "complaint"),
    [
        ("x86-high", 'there is no machine "x86-high"\n  hint: did you mean "x86-highmem-1.5g"?'),
        ("no/such.yaml", 'file "no/such.yaml" does not exist'),
    ],
)  # fmt: skip
def test_a_machine_that_is_not_there(folder, like, complaint):
    text = LIKE.replace("small.yaml", like).replace("duration: 1s", "duration: 1")
    assert complaints(text, str(folder)) == (
        "x.yaml:3:11: expected a duration such as 60s, 80us or 2min, found 1\n"
        f"x.yaml:5:17: {complaint}"
    )


def test_which_machine_cannot_be_an_axis(folder):
    text = LIKE + "axes: {machine.like: [small.yaml, ppc64-6g]}\n"
    assert complaints(text, str(folder)) == (
        'x.yaml:6:8: "machine.like" cannot be an axis\n'
        "  hint: --set machine.like=NAME takes another machine"
    )


def test_a_machine_on_an_axis_is_like_no_other(folder):
    text = LIKE + "axes: {machine: [{like: ppc64-6g, profile: linux-2.6.14}]}\n"
    assert complaints(text, str(folder)) == (
        "x.yaml:6:19: a machine file cannot be on an axis\n"
        "  hint: --set machine.like=NAME takes another machine"
    )


def test_like_must_be_text(folder):
    found = complaints(LIKE.replace("small.yaml", "[1]"), str(folder))
    assert "x.yaml:5:17: like: expected text, found a list" in found
