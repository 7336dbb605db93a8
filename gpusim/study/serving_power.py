"""Board power of a replica's GPUs from what their steps count: FLOP, HBM bytes and idle power.

As `energy_j` of a run, it leaves out other pipes, shared memory, L2 and links, and counts useful
FLOP only; it never exceeds the board's limit.
"""

from dataclasses import dataclass

from gpusim.spec.attention import BYTES
from gpusim.spec.gpu import Gpu
from gpusim.spec.model import Model
from gpusim.spec.projection import attention_projections, mlp_projections
from gpusim.study.serving_log import Meter
from gpusim.units import PJ, US_PER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """Work of a model's steps on one GPU of a replica, and what it costs in energy.

    Attributes:
        token_flop: of a token's projections; `head_flop` of a token's logits.
        pair_flop: of a (query, key) pair in all layers that see it: those with a window see the
            share of pairs that they cache.
        dense_bytes: weights that every step reads.
        expert_bytes: by experts and experts per token: weights of the routed experts.
        kv_bytes: of a cached token.
    """

    token_flop: float
    head_flop: float
    pair_flop: float
    dense_bytes: float
    expert_bytes: tuple[tuple[int, int, float], ...]
    kv_bytes: float
    idle_w: float
    limit_w: float
    joule_per_flop: float
    joule_per_byte: float

    def watts(self, meter: Meter) -> float:
        """Mean power of one GPU over the window of a run."""
        tokens = meter.decode_tokens + meter.prefill_tokens
        pairs = meter.decode_kv_tokens + meter.prefill_pairs
        flop = tokens * self.token_flop + meter.decode_tokens * self.head_flop
        flop += pairs * self.pair_flop
        kv_bytes = (meter.decode_kv_tokens + tokens) * self.kv_bytes
        step_tokens = tokens / meter.steps if meter.steps else 0.0
        used = sum(
            size * float(1 - (1 - taken / experts) ** step_tokens)
            for experts, taken, size in self.expert_bytes
        )
        hbm_bytes = meter.steps * (self.dense_bytes + used) + kv_bytes
        joule = flop * self.joule_per_flop + hbm_bytes * self.joule_per_byte
        return min(self.limit_w, self.idle_w + joule / (meter.window_us / US_PER_S))


def power_model(
    model: Model,
    gpu: Gpu,
    tensor_parallel: int,
    *,
    weight_dtype: str,
    kv_dtype: str,
    kv_token_bytes: float,
) -> PowerModel:
    """The work of a model's steps on one of `tensor_parallel` GPUs.

    Args:
        model: shapes.
        gpu: a profile.
        tensor_parallel: GPUs that share the model.
        weight_dtype: of the projections.
        kv_dtype: of the KV cache.
        kv_token_bytes: of a cached token on one GPU, at the mean context of the traffic.
    """
    flop, dense, experts = 0.0, 0.0, []
    for layer, count in model.mlps.items():
        for projection in (
            *attention_projections(model, tensor_parallel),
            *mlp_projections(model, layer, tensor_parallel),
        ):
            size = count * projection.weight_bytes(BYTES[weight_dtype])
            taken = layer.experts_per_token if projection.experts else 1
            flop += 2.0 * count * projection.inputs * projection.outputs * taken
            if projection.experts:
                experts.append((layer.experts, layer.experts_per_token, float(size)))
            else:
                dense += size
    head = model.vocab_per_gpu(tensor_parallel) * model.hidden_size
    heads = model.q_heads / tensor_parallel
    seen = kv_token_bytes / model.kv_bytes_per_token(kv_dtype, tensor_parallel)
    return PowerModel(
        token_flop=flop,
        head_flop=2.0 * head,
        pair_flop=2.0 * heads * (model.head_dim + model.value_dim) * model.num_layers * seen,
        dense_bytes=dense + 2.0 * head,
        expert_bytes=tuple(experts),
        kv_bytes=kv_token_bytes,
        idle_w=gpu.power.idle_w,
        limit_w=gpu.power.tdp_w,
        joule_per_flop=gpu.power.tensor_pj_per_flop * PJ,
        joule_per_byte=gpu.power.hbm_pj_per_byte * PJ,
    )
