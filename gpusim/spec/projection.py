"""The matrix products of a decoder layer on one GPU of a tensor-parallel group, by shape.

Column-parallel products (QKV, gate and up) hold a part of the outputs, row-parallel ones (O, down)
a part of the inputs; the sum over the GPUs is an all-reduce. The router and what DeepSeek projects
down to its ranks are held by every GPU. Source: vLLM `model_executor/layers/linear.py`,
`model_executor/models/llama.py`, `mixtral.py` and `deepseek_v2.py`.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gpusim.spec.layer import Layer

if TYPE_CHECKING:
    from gpusim.spec.model import Model

#: Projections whose weights stay in 16 bit when the others are quantised.
UNQUANTISED = ("router",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Projection:
    """A weight matrix of `inputs` x `outputs`, or one of each of `experts`."""

    name: str
    inputs: int
    outputs: int
    experts: int = 0

    @property
    def parameters(self) -> int:
        """Numbers that it holds."""
        return self.inputs * self.outputs * max(1, self.experts)

    def weight_bytes(self, element_bytes: int) -> int:
        """Bytes with so many an element; what stays in 16 bit takes two."""
        return self.parameters * (2 if self.stays_plain else element_bytes)

    @property
    def stays_plain(self) -> bool:
        """Whether it stays in 16 bit when the others are quantised."""
        return self.name in UNQUANTISED


def attention_projections(model: "Model", tensor_parallel: int = 1) -> tuple[Projection, ...]:
    """Into queries, keys and values, and out of attention."""
    heads = model.q_heads // tensor_parallel
    out = Projection(name="o_proj", inputs=heads * model.value_dim, outputs=model.hidden_size)
    if model.mla is not None:
        return *_latent_projections(model, heads), out
    kv_heads = model.kv_heads_per_gpu(tensor_parallel)
    width = heads * model.head_dim + kv_heads * (model.head_dim + model.value_dim)
    return Projection(name="qkv_proj", inputs=model.hidden_size, outputs=width), out


def mlp_projections(
    model: "Model", layer: Layer, tensor_parallel: int = 1
) -> tuple[Projection, ...]:
    """Of the dense MLP (or the shared experts), the router and the routed experts."""
    found: tuple[Projection, ...] = ()
    if layer.experts:
        found = (
            Projection(name="router", inputs=model.hidden_size, outputs=layer.experts),
            *_mlp(model, layer.intermediate_size // tensor_parallel, "experts", layer.experts),
        )
    if layer.dense_size:
        name = "shared_experts" if layer.experts else ""
        found += _mlp(model, layer.dense_size // tensor_parallel, name)
    return found


def _mlp(model: "Model", width: int, name: str, experts: int = 0) -> tuple[Projection, ...]:
    up, prefix = ("gate_up", 2) if model.gated else ("up", 1), f"{name}_" if name else ""
    return (
        Projection(
            name=f"{prefix}{up[0]}_proj",
            inputs=model.hidden_size,
            outputs=up[1] * width,
            experts=experts,
        ),
        Projection(
            name=f"{prefix}down_proj", inputs=width, outputs=model.hidden_size, experts=experts
        ),
    )


def _latent_projections(model: "Model", heads: int) -> tuple[Projection, ...]:
    """DeepSeek's: down to the ranks in one product, and up to the heads of this GPU."""
    assert model.mla is not None
    mla, hidden = model.mla, model.hidden_size
    latent, queries = mla.kv_rank + mla.rope_dim, heads * model.head_dim
    up = Projection(
        name="kv_b_proj",
        inputs=mla.kv_rank,
        outputs=heads * (model.head_dim - mla.rope_dim + model.value_dim),
    )
    if mla.q_rank is None:
        return (
            Projection(name="q_proj", inputs=hidden, outputs=queries),
            Projection(name="kv_a_proj", inputs=hidden, outputs=latent),
            up,
        )
    return (
        Projection(name="qkv_a_proj", inputs=hidden, outputs=mla.q_rank + latent),
        Projection(name="q_b_proj", inputs=mla.q_rank, outputs=queries),
        up,
    )
