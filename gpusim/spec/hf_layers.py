"""Which layers of a `config.json` have a window, and which have experts.

Sources: transformers `models/*/configuration_*.py` (`layer_types`, `sliding_window_pattern`,
`max_window_layers`) and `modeling_*.py` (`mlp_only_layers`, `first_k_dense_replace`).
"""

from itertools import groupby
from typing import Any

from gpusim.errors import SpecError, excerpt
from gpusim.spec.hf_fields import Fields
from gpusim.spec.layer import MAX_LAYERS

SLIDING, FULL = "sliding_attention", "full_attention"

Mlp = dict[str, int]


def num_layers(fields: Fields) -> int:
    """Decoder layers.

    Raises:
        SpecError: if the number is missing or absurd.
    """
    count = fields.integer("num_hidden_layers")
    if count > MAX_LAYERS:
        raise SpecError(
            f"{fields.where}num_hidden_layers: expected at most {MAX_LAYERS}, found {count}"
        )
    return count


def layer_windows(fields: Fields) -> list[int | None]:
    """Window of each layer in order; None: it sees everything."""
    kinds = _layer_types(fields)
    if SLIDING not in kinds:
        return [None] * len(kinds)
    window = fields.optional("sliding_window")
    return [window if kind == SLIDING else None for kind in kinds]


def _layer_types(fields: Fields) -> list[str]:
    count, given = num_layers(fields), fields["layer_types"]
    if given is not None:
        if not isinstance(given, list) or len(given) != count:
            raise SpecError(
                f"{fields.where}layer_types: expected a list of {count}, found {excerpt(given)}"
            )
        for i, kind in enumerate(given):
            if kind not in (SLIDING, FULL):
                raise SpecError(
                    f"{fields.where}layer_types[{i}]: expected {SLIDING} or {FULL}, found"
                    f" {excerpt(kind)}"
                )
        return given
    return [SLIDING if _slides(fields, i) else FULL for i in range(count)]


def _slides(fields: Fields, layer: int) -> bool:
    """Whether a layer has the window, by its model type's rule."""
    if fields.kind in ("mistral", "mixtral", "phi3"):
        return True
    if fields.kind in ("qwen2", "qwen3", "qwen3_moe"):
        return fields.flag("use_sliding_window") and layer >= _natural(fields, "max_window_layers")
    if fields.kind in ("gemma2", "gpt_oss"):
        return layer % 2 == 0
    if fields.kind == "gemma3_text":
        return (layer + 1) % fields.integer("sliding_window_pattern") != 0
    return False


def dense_or_experts(fields: Fields) -> list[Mlp]:
    """Sizes of each layer's MLP, in order."""
    count = num_layers(fields)
    if fields.kind in ("mixtral", "gpt_oss"):
        return [_experts(fields, "num_local_experts", "intermediate_size")] * count
    if fields.kind == "qwen3_moe":
        experts = _experts(fields, "num_experts", "moe_intermediate_size")
        step, dense = fields.integer("decoder_sparse_step"), fields["mlp_only_layers"] or []
        if not isinstance(dense, list):
            raise SpecError(
                f"{fields.where}mlp_only_layers: expected a list, found {excerpt(dense)}"
            )
        routed = [i not in dense and (i + 1) % step == 0 for i in range(count)]
        return [experts if has else _dense(fields) for has in routed]
    if fields.kind.startswith("deepseek") and fields["n_routed_experts"] is not None:
        experts = _experts(fields, "n_routed_experts", "moe_intermediate_size")
        experts["shared_experts"] = fields.optional("n_shared_experts") or 0
        first, step = (
            _natural(fields, "first_k_dense_replace"),
            fields.optional("moe_layer_freq") or 1,
        )
        routed = [i >= first and i % step == 0 for i in range(count)]
        return [experts if has else _dense(fields) for has in routed]
    return [_dense(fields)] * count


def _dense(fields: Fields) -> Mlp:
    return {"intermediate_size": fields.integer("intermediate_size")}


def _experts(fields: Fields, number: str, size: str) -> Mlp:
    return {
        "intermediate_size": fields.integer(size),
        "experts": fields.integer(number),
        "experts_per_token": fields.integer("num_experts_per_tok"),
    }


def _natural(fields: Fields, name: str) -> int:
    """A count that may be 0, and is where it is left out."""
    return 0 if fields[name] in (None, 0) else fields.integer(name)


def merged_layers(mlps: list[Mlp], windows: list[int | None]) -> list[dict[str, Any]]:
    """Layers alike counted together, in the order in which they first occur."""
    counts: dict[tuple[Any, ...], int] = {}
    pairs = [(window, tuple(mlp.items())) for mlp, window in zip(mlps, windows, strict=True)]
    for pair, run in groupby(pairs):
        counts[pair] = counts.get(pair, 0) + len(list(run))
    return [
        {"count": count, "window": window, **dict(mlp)} for (window, mlp), count in counts.items()
    ]
