"""How often the loops of a grid come back to the same bytes, and after how many others.

CTAs that run at once walk a stream together and read it once. With S slots, a loop whose n rounds,
C CTAs each, all go over the same bytes walks them

    n times if C > S, else max(1, n·C/S) times

and between two of these walks lies what one round touches. Loops nest: each walk of an outer one
holds those of the loops inside.
"""

from typing import NamedTuple

from gpusim.schedules.launch import Launch, Operand, Rereads


class Loop(NamedTuple):
    """A loop of a grid whose rounds go over the same bytes of a tensor.

    Attributes:
        rounds: of the loop.
        ctas: CTAs of one round.
        own: distinct bytes of the tensor that a round touches.
        others: bytes of other tensors that all rounds together touch.
    """

    rounds: float
    ctas: float
    own: float
    others: float = 0.0

    def walks(self, slots: int) -> float:
        """Rounds that do not run together with the one before."""
        return self.rounds if self.ctas > slots else max(1.0, self.rounds * self.ctas / slots)


def loop_rereads(unique: float, loops: tuple[Loop, ...], slots: int) -> Rereads:
    """Re-reads of a tensor of so many bytes by nested loops, the outermost first.

    Eight rounds of 50 CTAs in 100 slots are four walks; 5 bytes of its own lie between two, and a
    quarter of the others.

    >>> loop_rereads(10.0, (Loop(8, 50, 5.0, 4.0),), 100)
    ((30.0, 6.0),)
    """
    parts, outer = [], 1.0
    for loop in loops:
        walks = loop.walks(slots)
        parts.append((unique * (walks - 1) * outer, loop.own + loop.others / walks))
        outer *= walks
    return tuple(parts)


def grid_rereads(launch: Launch, operand: Operand, slots: int) -> Rereads:
    """Re-reads of a stream by the query tiles and splits of a head, and by heads that share it.

    In the order of `Work`: the heads of a group (GQA) either come one after another within a
    sequence (`heads_inner`), one loop with the CTAs of a head, or all sequences apart.
    """
    work, group = launch.work, operand.heads_per_stream
    sequences = float(work.copies.sum())
    ctas = work.num_items if work.lists is None else launch.num_ctas
    per_head = ctas / work.heads
    rows = per_head / sequences
    stream = operand.unique_bytes / sequences / max(1, work.heads // group)
    if work.heads_inner:
        return loop_rereads(operand.unique_bytes, (Loop(group * rows, 1, stream),), slots)
    others = sum(
        o.requested_bytes if o.rereads is None else o.unique_bytes
        for o in (*launch.reads, *launch.writes)
        if o is not operand
    )
    share = group / work.heads
    heads = Loop(group, per_head, operand.unique_bytes * share, others * share)
    return loop_rereads(operand.unique_bytes, (heads, Loop(rows, 1, stream)), slots)
