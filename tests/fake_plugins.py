"""Plug-ins for tests of scenario files, so that these do not depend on the shipped ones' knobs."""

import sys
from contextlib import contextmanager
from types import SimpleNamespace
from typing import ClassVar
from unittest import mock

from memsim import plugins
from memsim.policies import PolicyModel, by_gfp, policy_tables
from memsim.schema import Column
from memsim.units import Bytes, Duration, InputPath, Lifetime, NodeSet, Rate, Share
from memsim.workloads import WorkloadModel


class App(WorkloadModel):
    """Ask for memory."""

    anon: Bytes
    nodes: NodeSet = (0,)
    rate: Rate = 100
    dirty: Share = 0.0
    think: Duration = 1000
    lifetime: Lifetime = Lifetime(forever=True)
    huge: bool = False

    def stream(self, ctx):
        raise NotImplementedError


class Recorded(WorkloadModel):
    """Ask again."""

    trace: InputPath

    def stream(self, ctx):
        raise NotImplementedError


class Plain(PolicyModel):
    """Prefer nothing."""

    PROFILES: ClassVar = ("linux-6.1",)
    TYPES: ClassVar = ("any",)
    boost: bool = True

    def tables(self, kernel):
        return policy_tables(by_gfp(0, 0, 0))


class Old(PolicyModel):
    """Belong to another kernel."""

    PROFILES: ClassVar = ("linux-2.6.14",)
    TYPES: ClassVar = ("any",)

    def tables(self, kernel):
        return policy_tables(by_gfp(0, 0, 0))


COLUMNS = (
    Column("events", "1", "fall-backs to another type"),
    Column("bytes", "bytes", "an amount"),
)
MODULES = {
    "policies": {"plain": SimpleNamespace(Policy=Plain), "old": SimpleNamespace(Policy=Old)},
    "workloads": {
        "app": SimpleNamespace(Workload=App),
        "recorded": SimpleNamespace(Workload=Recorded),
    },
    "metrics": {"fallback": SimpleNamespace(COLUMNS=COLUMNS, measure=dict)},
    "traces": {},
}


@contextmanager
def fake_plugins():
    """Let the folders offer the plug-ins above and nothing else."""
    modules = {
        f"memsim.{folder}.{name}": module
        for folder, found in MODULES.items()
        for name, module in found.items()
    }
    offered = mock.patch.object(plugins, "offered", lambda folder: tuple(sorted(MODULES[folder])))
    _forget()
    with offered:
        sys.modules.update(modules)
        yield
    for name in modules:
        del sys.modules[name]
    _forget()


def _forget():
    plugins.find.cache_clear()
