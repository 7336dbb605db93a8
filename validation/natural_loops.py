"""Natural loops of a control-flow graph, by dominators.

A loop is a jump back to a place that dominates it, and all places from which the jump is reached
without passing that header (Aho, Sethi, Ullman, "Compilers", section 10.4). A graph is a sequence:
at each place, the places where control may be next; it enters at place 0.
"""

from collections.abc import Sequence
from functools import reduce
from operator import and_

Graph = Sequence[Sequence[int]]


def reached(graph: Graph) -> list[int]:
    """Places that control can come to, in order.

    >>> reached([[2], [0], []])
    [0, 2]
    """
    found, ends = set[int](), [0] if graph else []
    while ends:
        place = ends.pop()
        if place not in found:
            found.add(place)
            ends += graph[place]
    return sorted(found)


def loops(graph: Graph) -> list[frozenset[int]]:
    """Loops as sets of places, in order of their headers; one header makes one loop.

    >>> [sorted(loop) for loop in loops([[1], [2, 4], [1, 3], [], []])]
    [[1, 2]]
    """
    before = _before(graph)
    dominators = _dominators(before)
    bodies: dict[int, set[int]] = {}
    for header, sources in before.items():
        for source in (s for s in sources if dominators[s] >> header & 1):
            body = bodies.setdefault(header, {header})
            ends = [source]
            while ends:
                place = ends.pop()
                if place not in body:
                    body.add(place)
                    ends += before[place]
    return [frozenset(body) for body in bodies.values()]


def _before(graph: Graph) -> dict[int, list[int]]:
    """The places that can come right before each place that is reached."""
    before: dict[int, list[int]] = {place: [] for place in reached(graph)}
    for place in before:
        for follower in graph[place]:
            before[follower].append(place)
    return before


def _dominators(before: dict[int, list[int]]) -> dict[int, int]:
    """For each place, a bit for every place that control must pass to come to it, itself included.

    The greatest fixed point of: its own bit, and what all places before it have in common. Nothing
    but itself has to be passed to come to place 0.
    """
    everything = (1 << (max(before, default=0) + 1)) - 1
    bits = {place: everything if place else 1 for place in before}
    changed = True
    while changed:
        changed = False
        for place, sources in before.items():
            if place == 0:
                continue
            dominating = reduce(and_, (bits[s] for s in sources)) | 1 << place
            changed |= dominating != bits[place]
            bits[place] = dominating
    return bits
