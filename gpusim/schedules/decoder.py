"""What a decoder layer runs beside attention, counted: matrix products, and kernels that pass
over activations.

The kernels are those that vLLM launches one by one on CUDA (`csrc/layernorm_kernels.cu`,
`pos_encoding_kernels.cu`, `activation_kernels.cu`, `moe/`; `model_executor/models/llama.py`,
`qwen3.py`, `gemma2.py`, `deepseek_v2.py`). With FP8 projections a kernel that makes the input of
one writes it in FP8 (vLLM's fusion of norms and activations with quantisation); attention's output
is converted by a kernel of its own. Activations are in 16 bit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from gpusim.spec.attention import BYTES
from gpusim.spec.layer import Layer
from gpusim.spec.model import Model
from gpusim.spec.projection import Projection, attention_projections, mlp_projections
from gpusim.units import ceil_div

ACTIVATION_BYTES = 2
#: A token's routing: an expert's number and its weight, 4 bytes each.
ROUTE_BYTES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product, once in each of `calls` layers.

    Attributes:
        rows: of each of `groups` equal products side by side, which are those of the experts in
            use.
        useful_rows: of all of them, before they are rounded to equal shares.
    """

    projection: Projection
    rows: int
    calls: int
    groups: int = 1
    useful_rows: int

    @property
    def useful_flop(self) -> float:
        """2 FLOP an element of the weights and row, over all layers."""
        size = self.projection.inputs * self.projection.outputs
        return 2.0 * self.useful_rows * size * self.calls

    def compulsory_bytes(self, element_bytes: int) -> float:
        """Bytes of weights in use, rows in and rows out, each once, over all layers."""
        size = ACTIVATION_BYTES if self.projection.stays_plain else element_bytes
        inputs, outputs = self.projection.inputs, self.projection.outputs
        rows_in = self.useful_rows * inputs * size
        rows_out = self.useful_rows * outputs * ACTIVATION_BYTES
        return float(self.calls * (inputs * outputs * self.groups * size + rows_in + rows_out))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """A kernel that reads and writes so many bytes, `calls` times."""

    name: str
    read_bytes: float
    write_bytes: float
    calls: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoder:
    """The layers of a model on one GPU of a tensor-parallel group.

    Attributes:
        weight_dtype: of the projections.
    """

    model: Model
    tensor_parallel: int = 1
    weight_dtype: str = "bf16"

    def products(self, tokens: int, context: int) -> Iterator[Product]:
        """All layers' products for so many new tokens; of a latent KV cache all of `context` grow.

        Experts in use take equal shares of the tokens.
        """
        for projection in attention_projections(self.model, self.tensor_parallel):
            rows = context if projection.name == "kv_b_proj" else tokens
            calls = self.model.num_layers
            yield Product(projection=projection, rows=rows, calls=calls, useful_rows=rows)
        for layer, calls in self.model.mlps.items():
            used = max(1, round(layer.active_experts(tokens)))
            for projection in mlp_projections(self.model, layer, self.tensor_parallel):
                routed = bool(projection.experts)
                rows = tokens * layer.experts_per_token if routed else tokens
                groups = used if routed else 1
                yield Product(
                    projection=projection,
                    rows=ceil_div(rows, groups),
                    calls=calls,
                    groups=groups,
                    useful_rows=rows,
                )

    def passes(self, tokens: int) -> Iterator[Pass]:
        """All layers' norms, rotary embeddings, activations and routing."""
        yield from self._norms(tokens)
        yield from self._heads(tokens)
        for layer, calls in self.model.mlps.items():
            yield from self._mlp(layer, calls, tokens)

    def _norms(self, tokens: int) -> Iterator[Pass]:
        """A norm before attention and before the MLP that adds the residual, and one at the end."""
        model, plain = self.model, tokens * self.model.hidden_size * ACTIVATION_BYTES
        inputs = plain * self._input_bytes / ACTIVATION_BYTES
        yield Pass(
            name="fused_add_rms_norm",
            read_bytes=2 * plain,
            write_bytes=plain + inputs,
            calls=2 * model.num_layers + 1,
        )
        if model.norms_per_layer == 4:
            yield Pass(
                name="rms_norm", read_bytes=plain, write_bytes=plain, calls=2 * model.num_layers
            )

    def _heads(self, tokens: int) -> Iterator[Pass]:
        """Rotary positions in place, norms of heads, and what MLA does to its latent."""
        model, tp = self.model, self.tensor_parallel
        calls, unit = model.num_layers, tokens * ACTIVATION_BYTES
        heads = model.q_heads // tp
        if model.mla is None:
            widths = {"q": heads * model.head_dim}
            widths["k"] = model.kv_heads_per_gpu(tp) * model.head_dim
            rotated = sum(widths.values())
        else:
            widths = {"q_a": model.mla.q_rank or 0, "kv_a": model.mla.kv_rank}
            rotated = (heads + 1) * model.mla.rope_dim
            keys = unit * heads * model.head_dim
            yield Pass(name="concat_k", read_bytes=keys, write_bytes=keys, calls=calls)
            latent = unit * (model.mla.kv_rank + model.mla.rope_dim)
            yield Pass(name="cache_write_mla", read_bytes=latent, write_bytes=latent, calls=calls)
        if model.qk_norm or model.mla is not None:
            for name, width in widths.items():
                if width:
                    size = unit * width
                    yield Pass(name=f"{name}_norm", read_bytes=size, write_bytes=size, calls=calls)
        size = unit * rotated
        yield Pass(name="rotary_embedding", read_bytes=size, write_bytes=size, calls=calls)
        if self._input_bytes < ACTIVATION_BYTES:
            out = unit * heads * model.value_dim
            yield Pass(name="quantise_o", read_bytes=out, write_bytes=out / 2, calls=calls)

    def _mlp(self, layer: Layer, calls: int, tokens: int) -> Iterator[Pass]:
        if layer.dense_size:
            name = "shared_act_and_mul" if layer.experts else "act_and_mul"
            yield self._activation(name, tokens, layer.dense_size, calls)
        if not layer.experts:
            return
        routed = tokens * layer.experts_per_token
        scores = tokens * layer.experts * ACTIVATION_BYTES
        routes, hidden = routed * ROUTE_BYTES, self.model.hidden_size * ACTIVATION_BYTES
        yield Pass(name="topk_softmax", read_bytes=scores, write_bytes=routes, calls=calls)
        yield Pass(name="moe_align", read_bytes=routes, write_bytes=routes, calls=calls)
        yield self._activation("experts_act_and_mul", routed, layer.intermediate_size, calls)
        more = 1 if layer.shared_experts else 0  # their sum is added in the same pass
        yield Pass(
            name="moe_sum",
            read_bytes=(routed + more * tokens) * hidden,
            write_bytes=tokens * hidden,
            calls=calls,
        )

    def _activation(self, name: str, rows: int, width: int, calls: int) -> Pass:
        """Gate and up in, their product out."""
        size = rows * width // self.tensor_parallel
        read = size * ACTIVATION_BYTES * (2 if self.model.gated else 1)
        return Pass(name=name, read_bytes=read, write_bytes=size * self._input_bytes, calls=calls)

    @property
    def _input_bytes(self) -> int:
        """Bytes of an element that a projection takes."""
        return BYTES[self.weight_dtype]
