"""The order in which a request looks for memory: node order and zonelists.

Source: mm/page_alloc.c, find_next_best_node, build_zonelists (Linux 6.1.192); spec linux-mm 1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from memsim.mm import ZoneType

MAX_NUMNODES = 1024
_PENALTY_FOR_NODE_WITH_CPUS = 1


class Zonelists(NamedTuple):
    """Both lists of one node, as positions in the machine's sequence of zones."""

    fallback: tuple[int, ...]
    nofallback: tuple[int, ...]


def find_next_best_node(
    local: int,
    candidates: Sequence[int],
    distances: Sequence[Sequence[int]],
    has_cpus: Sequence[bool],
    node_load: Sequence[int],
) -> int:
    """Choose the node after those already used; ties go to the lowest id."""

    def cost(node: int) -> int:
        near = distances[local][node] + (node < local)
        near += _PENALTY_FOR_NODE_WITH_CPUS * has_cpus[node]
        return near * MAX_NUMNODES + node_load[node]

    return min(sorted(candidates), key=cost)


def build_node_orders(
    distances: Sequence[Sequence[int]], has_memory: Sequence[bool], has_cpus: Sequence[bool]
) -> tuple[tuple[int, ...], ...]:
    """Give for each node, itself first, the nodes with memory in the order of their use.

    ``node_load`` grows over all nodes' lists: it spreads equally distant nodes.
    """
    node_load = [0] * len(has_memory)
    orders = []
    for local in range(len(has_memory)):
        order = [local]
        unused = {n for n, memory in enumerate(has_memory) if memory} - {local}
        while unused:
            node = find_next_best_node(local, sorted(unused), distances, has_cpus, node_load)
            if distances[local][node] != distances[local][order[-1]]:
                node_load[node] += 1
            order.append(node)
            unused.remove(node)
        orders.append(tuple(order))
    return tuple(orders)


def build_zonelists(
    zones: Sequence[tuple[int, ZoneType]],
    distances: Sequence[Sequence[int]],
    has_cpus: Sequence[bool],
) -> tuple[Zonelists, ...]:
    """Build the lists of each node from the (node, zone type) of the populated zones."""
    own: list[list[int]] = [[] for _ in has_cpus]
    for index in sorted(range(len(zones)), key=lambda i: zones[i][1], reverse=True):
        own[zones[index][0]].append(index)
    orders = build_node_orders(distances, [bool(indices) for indices in own], has_cpus)
    return tuple(
        Zonelists(tuple(index for node in order for index in own[node]), tuple(own[local]))
        for local, order in enumerate(orders)
    )
