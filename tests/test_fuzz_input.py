"""Whatever a file holds, it loads or is refused with one line that names it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpusim.errors import SpecError
from gpusim.spec.load import load_gpu, load_workload

VALID: dict[str, Any] = {
    "name": "x",
    "gpus": ["a100_sxm_80gb"],
    "schedules": ["flash2", {"name": "flash2", "block_m": 64}],
    "l2": "warm",
    "load": 0.5,
    "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64, "dtype": "fp16", "window": None},
    "sequences": [{"count": 1, "q_len": 1, "kv_len": 9}],
}
VALID_PROFILE: dict[str, Any] = {
    "extends": "a100_sxm_80gb",
    "name": "x",
    "sm": {"count": {"value": 1, "kind": "estimated", "source": "none"}},
    "l2": {"hit_mib": {"value": 1.5, "kind": "measured", "source": "none"}},
    "cta": {
        "sync_clocks": {
            **{"value": 9, "kind": "calibrated", "source": "none", "bounds": [1, 10]},
            "nominal": {"value": 2, "kind": "datasheet", "source": "none"},
        }
    },
}
WORDS = [
    *VALID,
    *VALID["attention"],
    *VALID_PROFILE,
    "count",
    "value",
    "kind",
    "nominal",
    "bounds",
    "provenance",
    "<<",
]
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(WORDS)
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=3)
    ),
    max_leaves=8,
)


@st.composite
def mutations(draw: st.DrawFn, document: Any) -> Any:
    """A document with one value, somewhere in it, replaced, renamed or dropped."""
    if isinstance(document, dict) and document and draw(st.integers(0, 3)):
        key = draw(st.sampled_from(sorted(document)))
        rest = {k: v for k, v in document.items() if k != key}
        new = draw(st.sampled_from([key, key, key, *WORDS]))
        return rest | draw(st.just({}) | mutations(document[key]).map(lambda v: {new: v}))
    if isinstance(document, list) and document and draw(st.booleans()):
        return [*document[:-1], draw(mutations(document[-1]))]
    return draw(VALUES)


@pytest.mark.parametrize(("load", "valid"), [(load_workload, VALID), (load_gpu, VALID_PROFILE)])
@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_any_document_loads_or_is_refused(
    data: st.DataObject,
    load: Callable[[Path], object],
    valid: Any,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(json.dumps(data.draw(mutations(valid)), ensure_ascii=False))
    message = ""
    try:
        load(path)
    except SpecError as error:
        message = str(error)
    assert message.startswith(f"{path}: ") or not message
    assert message.isprintable()


@settings(max_examples=150, deadline=None, derandomize=True, database=None)
@given(text=st.text(st.sampled_from("ab01:-?[]{},&*!|>'\"#%@ \n\t.<~")) | st.text())
def test_any_text_loads_or_is_refused(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.yaml"
    path.write_text(text, errors="replace")
    with pytest.raises(SpecError, match=r"fuzz.yaml"):
        load_workload(path)
