"""Measured latencies: one row a call, and the columns that hold it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpusim.spec.attention import Attention
from gpusim.spec.validate import validate

TEXTS = ("gpu", "kernel", "phase", "source")
COUNTS = ("batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim")
#: Empty where there is none.
OPTIONAL_COUNTS = ("window", "page_size", "v_head_dim", "calls_before", "calls_timed")
COLUMNS = (
    *("gpu", "kernel", "phase", "batch", "q_len", "kv_len", "q_heads", "kv_heads", "head_dim"),
    *("dtype", "kv_dtype", "causal", "window", "page_size", "l2", "measured_us", "source"),
)
#: Columns that a file may lack.
MAY_LACK = ("v_head_dim", "calls_before", "calls_timed")


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRow:
    """One measured call.

    Attributes:
        kernel: an implementation as shipped, or a schedule.
        phase: a word to group by, such as prefill or decode.
        l2: 'warm' where the same buffers were replayed, else 'cold'.
        calls: if the call was repeated without a pause, calls before the first timed one and up to
            the last; None: not known, a short benchmark. A file has the calls before and those
            timed, in `calls_before` and `calls_timed`.
    """

    gpu: str
    kernel: str
    phase: str
    l2: str
    measured_us: float
    source: str
    attention: Attention
    calls: tuple[int, int] | None = None

    def as_row(self) -> dict[str, Any]:
        """The row as a CSV file has it."""
        attention, sequence = self.attention, self.attention.sequences[0]
        before, end = self.calls or (None, None)
        values = {
            **{name: getattr(attention, name) for name in Attention.model_fields},
            **{name: getattr(self, name) for name in (*TEXTS, "l2", "measured_us")},
            "batch": sequence.count,
            "q_len": sequence.q_len,
            "kv_len": sequence.kv_len,
            "causal": str(attention.causal).lower(),
            "calls_before": before,
            "calls_timed": end and end - (before or 0),
        }
        names = (*COLUMNS[:-1], *MAY_LACK, COLUMNS[-1])
        return {name: "" if values[name] is None else values[name] for name in names}


def attention_of(values: Mapping[str, Any], where: str) -> Attention:
    """The problem that a row states in its columns.

    Raises:
        SpecError: after `where`, for values that do not go together.
    """
    fields = {name: values[name] for name in Attention.model_fields if values.get(name)}
    sequence = {"count": values["batch"], "q_len": values["q_len"], "kv_len": values["kv_len"]}
    document = fields | {"causal": values["causal"], "sequences": (sequence,)}
    return validate(Attention, document, where)
