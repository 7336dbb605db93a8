"""Which schedules give another answer than exact attention in the problem's own types."""

from gpusim.schedules.launch import Launch
from gpusim.schedules.mask import useful_flop
from gpusim.spec.attention import BYTES, Attention

LOWER, SAMPLED = "lower precision", "sampled"


def approximation(attention: Attention, launches: tuple[Launch, ...], *, exact: bool) -> str:
    """What the answer lacks: 'sampled', 'lower precision' (FP8 products of 16-bit Q), or nothing.

    `exact` is whether the schedule attends to all values.
    """
    if not exact:
        return SAMPLED
    types = {launch.step.matrix_dtype for launch in launches if launch.issued_flop}
    return LOWER if any(BYTES[t] < attention.element_bytes for t in types) else ""


def sampled_flop(attention: Attention, launches: tuple[Launch, ...]) -> float:
    """FLOP of QKᵀ over all pairs, and of PV over the value rows that are read.

    Every head multiplies each value that it asks for once: 2 FLOP an element of V requested.
    """
    dim, value_dim = attention.head_dim, attention.value_dim
    scores = useful_flop(attention) * dim / (dim + value_dim)
    values = sum(o.requested_bytes for la in launches for o in la.reads if o.name == "v")
    return scores + 2 * values / BYTES[attention.cache_dtype]
