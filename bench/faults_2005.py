"""Migrations of 2005 in whose middle something goes wrong: others act between their steps."""

from __future__ import annotations

import errno
from typing import get_args

import numpy as np

from bench.fault_machines import Machine, machine_of_2005, verify
from memsim.kernels.linux_2_6_14 import migration as M
from memsim.memory import migrating_2005
from memsim.memory.migrating_2005 import STEP_NAMES, Code, Disturbance, Fate, TargetFull, What

GONE_WELL = (
    Fate.MOVED_DIRECT,
    Fate.MOVED_SWAP,
    Fate.FREED_MEANWHILE,
    Fate.ALREADY_THERE,
    Fate.NOT_IN_MEMORY,
)


def migrate_2005(rng: np.random.Generator, fault: str) -> str:
    """Migrate pages of processes to a node, and some of them on to another one."""
    machine = machine_of_2005(rng)
    nodes = len(machine.memory.setup.cpu_node)
    share = float(rng.choice((0.2, 0.5, 0.8)))
    machine.populate(int(nodes * 1024 * share), {"inode": 0})
    if fault == "pin":
        machine.pin()
    if fault == "target full":
        machine.fill("atomic", int(rng.integers(nodes)), 600)
    if fault == "swap full":
        machine.fill_swap()
    result = _migrate(machine, fault)
    if fault == "second":
        result = _migrate(machine, fault)
    machine.go_on()
    return result


def _migrate(machine: Machine, fault: str) -> str:
    rng, memory = machine.rng, machine.memory
    before = machine.look()
    mine = rng.permutation(machine.users()).astype(np.int32)[: int(rng.integers(1, 900))]
    others = _disturbances(rng, len(mine), fault)
    budget = int(rng.choice((0, 5_000, 200_000))) if fault in ("timeout", "signal") else None
    outcome = migrating_2005.migrate(
        memory,
        mine,
        int(rng.integers(len(memory.setup.cpu_node))),
        mode="swap" if rng.random() < 0.3 else "direct",
        code=get_args(Code)[rng.integers(2)],
        target_full=get_args(TargetFull)[rng.integers(3)],
        move_all=bool(rng.integers(2)),
        budget_ns=budget,
        disturbances=others,
    )
    ended = {int(mine[other.page]) for other in others if other.what == What.EXIT}
    machine.gone |= {handle for handle in ended if memory.page_table[handle] == 0}
    gone_well = sum(map(outcome.count, GONE_WELL))
    assert gone_well + outcome.not_migrated == len(mine), "a page has no fate"
    there = memory.page_table[mine[outcome.fate == Fate.MOVED_DIRECT]]
    assert ended or (there != 0).all(), "a page that has moved is lost"
    verify(machine, before, freely=bool(others))
    return errno.errorcode[-outcome.errno] if outcome.errno else "moved"


def _disturbances(rng: np.random.Generator, pages: int, fault: str) -> tuple[Disturbance, ...]:
    """Let others act in the middle of moves: as the fault says, or in all ways."""
    whats = {
        "exit": [What.EXIT],
        "pin": [What.GET_PAGE, What.PUT_PAGE],
        "signal": [What.LOCK_PAGE, What.UNLOCK_PAGE, What.PUT_BUFFERS],
        "second": list(What),
    }.get(fault)
    if whats is None or pages == 0:
        return ()
    return tuple(
        Disturbance(
            page=int(rng.integers(pages)),
            pass_=int(rng.integers(M.EVERY_PASS, M.MIGRATE_PASSES)),
            step=int(rng.integers(len(STEP_NAMES))),
            what=What(int(rng.choice(whats))),
        )
        for _ in range(int(rng.integers(1, 120)))
    )
