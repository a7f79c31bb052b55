"""Where a workload runs, and for how long what it takes lives."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from memsim.errors import TrialError
from memsim.units import Lifetime
from memsim.workloads import Context


class Places(NamedTuple):
    """CPUs that make requests, each with the node whose memory it prefers (P places)."""

    cpu: NDArray[np.uint16]
    node: NDArray[np.int64]
    """Index into ``nodes``."""
    nodes: tuple[int, ...]

    def draw(self, rng: np.random.Generator, shape: int | tuple[int, ...]) -> NDArray[np.int64]:
        """Pick places at random."""
        return rng.integers(len(self.cpu), size=shape)


def places(ctx: Context, nodes: tuple[int, ...] | None) -> Places:
    """Return the CPUs of these nodes (None: all CPUs), each with its own node.

    For a node without CPUs, those of the other nodes given ask for its memory, or all CPUs.
    Raises TrialError for a node that the machine does not have.
    """
    wanted = tuple(n for n in sorted(ctx.cpus) if ctx.cpus[n]) if nodes is None else nodes
    if unknown := [n for n in wanted if n not in ctx.cpus]:
        known = ", ".join(map(str, sorted(ctx.cpus)))
        raise TrialError(
            f"workload {ctx.name}: node {unknown[0]} does not exist, nodes are {known}"
        )
    near = [cpu for n in wanted for cpu in ctx.cpus[n]]
    others = near or [cpu for n in sorted(ctx.cpus) for cpu in ctx.cpus[n]]
    pairs = [(cpu, i) for i, n in enumerate(wanted) for cpu in ctx.cpus[n] or others]
    cpu, node = (list(column) for column in zip(*pairs, strict=True))
    return Places(np.array(cpu, np.uint16), np.array(node, np.int64), wanted)


def draw_lifetimes(
    lifetime: Lifetime, count: int, limit_ns: int, rng: np.random.Generator
) -> NDArray[np.int64]:
    """Draw durations in nanoseconds, at least 1 and at most ``limit_ns``."""
    if lifetime.constant is not None:
        drawn = np.full(count, float(lifetime.constant))
    elif lifetime.exponential is not None:
        drawn = rng.exponential(lifetime.exponential.mean, count)
    elif lifetime.lognormal is not None:
        exponent = np.clip(lifetime.lognormal.sigma * rng.standard_normal(count), -700, 700)
        drawn = lifetime.lognormal.median * np.exp(exponent)
    elif lifetime.uniform is not None:
        low, high = lifetime.uniform.min, lifetime.uniform.max
        drawn = low + (high - low) * rng.random(count)
    else:
        drawn = np.full(count, float(limit_ns))
    lives: NDArray[np.int64] = np.clip(drawn, 1, max(limit_ns, 1)).astype(np.int64)
    return lives
