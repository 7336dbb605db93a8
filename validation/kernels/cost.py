"""What a kernel costs: matrix FLOP, and the bytes that it asks for and stores, by tensor."""

from collections import Counter
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """FLOP, and requested bytes by the kernel's parameter; costs add.

    Lengths, flags and other integers are not counted.

    >>> (Cost(flop=8, reads=Counter(Q=2)) + Cost(flop=1, reads=Counter(Q=3))).reads["Q"]
    5
    """

    flop: int = 0
    reads: Counter[str] = field(default_factory=Counter)
    writes: Counter[str] = field(default_factory=Counter)

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(
            flop=self.flop + other.flop,
            reads=self.reads + other.reads,
            writes=self.writes + other.writes,
        )
