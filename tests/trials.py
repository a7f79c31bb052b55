"""Scenarios for tests of what runs them."""

from pathlib import Path

from memsim.load import load_scenario, load_text

SCENARIOS = Path(__file__).parent.parent / "scenarios"

SMALL = """
memsim: 1
name: small
duration: 100ms
seeds: 1..2
policies:
  none:     {placement: none}
  mobility: {placement: mobility}
machine:
  nodes: [{id: 0, cpus: 0-1, memory: 64MiB}]
workloads:
  app:  {kind: process, anon: 2MiB, grow: 60ms}
  kern: {kind: slab, rate: 5000/s, lifetime: {exponential: {mean: 20ms}}}
events:
  - {every: 50ms, do: probe, orders: [0, 9], attempts: 8, gfp: GFP_NOWAIT}
"""


def small(text: str = SMALL, **options):
    """Load a scenario of a few thousand events."""
    return load_text(text, "small.yaml", str(SCENARIOS), **options)


def tiny(**options):
    """Load the shipped scenario that uses every workload."""
    return load_scenario(SCENARIOS / "tiny.yaml", **options)
