"""Whether a model and its traffic fit into the memory of a replica's GPUs."""

from dataclasses import dataclass

from gpusim.machine.all_reduce import check_node
from gpusim.spec.attention import BYTES, DType
from gpusim.spec.gpu import Gpu
from gpusim.spec.model import Model
from gpusim.spec.plan import Plan
from gpusim.study.requests import Requests
from gpusim.units import GB


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one GPU of a replica, and the tokens that the replica can cache.

    Attributes:
        hbm_bytes: the profile's capacity, in units of 10^9 bytes.
        usable_bytes: the plan's share of it.
        weight_bytes: the GPU's part of the weights.
        activation_bytes: of the largest step: the widest layer's tensors, and the logits.
        kv_bytes: what is left for the cache.
        kv_bytes_per_token: one token's keys and values, at the mean context of the traffic
            (layers with a window keep no more than it).
        kv_pages, kv_tokens: whole pages of the cache, and their tokens.
        longest_tokens: of the longest request, its output included.
        reason: why it does not fit; empty if it does.
    """

    hbm_bytes: float
    usable_bytes: float
    weight_bytes: float
    activation_bytes: float
    kv_bytes: float
    kv_bytes_per_token: float
    kv_pages: int
    kv_tokens: int
    longest_tokens: int
    reason: str = ""


def memory_of(
    plan: Plan, model: Model, gpu: Gpu, tensor_parallel: int, requests: Requests
) -> Memory:
    """Memory of each of the replica's GPUs.

    Raises:
        SpecError: if the model cannot be shared among so many GPUs, or no node has so many.
    """
    check_node(tensor_parallel)
    weights = model.weight_bytes(plan.weight_dtype, tensor_parallel)
    kv_dtype = cache_type(plan)
    hbm = gpu.hbm.capacity_gb * GB
    usable = hbm * plan.serving.memory_fraction
    activations = activation_bytes(plan, model, tensor_parallel)
    left = max(0.0, usable - weights - activations)
    context = requests.mean_context
    token = model.kv_bytes(context, kv_dtype, tensor_parallel) / context
    pages = int(left // (token * plan.serving.page_size))
    tokens = pages * plan.serving.page_size
    reason = ""
    if weights + activations > usable:
        reason = (
            f"weights and activations need {(weights + activations) / GB:.1f} GB of each GPU, it"
            f" has {usable / GB:.1f} for them"
        )
    elif requests.longest_tokens > tokens:
        reason = (
            f"the longest request has {requests.longest_tokens} tokens, the KV cache takes {tokens}"
        )
    return Memory(
        hbm_bytes=hbm,
        usable_bytes=usable,
        weight_bytes=weights,
        activation_bytes=activations,
        kv_bytes=left,
        kv_bytes_per_token=token,
        kv_pages=pages,
        kv_tokens=tokens,
        longest_tokens=requests.longest_tokens,
        reason=reason,
    )


def cache_type(plan: Plan) -> DType:
    """Data type of the KV cache: the plan's, else that of 16-bit weights, else BF16."""
    if plan.kv_dtype is not None:
        return plan.kv_dtype
    return plan.weight_dtype if BYTES[plan.weight_dtype] == BYTES["bf16"] else "bf16"


def activation_bytes(plan: Plan, model: Model, tensor_parallel: int) -> float:
    """An estimate of the tensors of the largest step that live at once, on one GPU.

    Of each of its tokens, in 16 bit: residual, hidden state and its norm, and the MLP's gate, up
    and product; of each sequence the logits, in 16 bit, in FP32, and sorted for sampling.
    """
    serving = plan.serving
    widest = max(
        layer.intermediate_size * max(1, layer.experts_per_token) + layer.dense_size
        if layer.experts
        else layer.dense_size
        for layer in model.layers
    )
    token = 2 * (3 * model.hidden_size + 3 * widest / tensor_parallel)
    logits = (2 + 4 + 4) * model.vocab_per_gpu(tensor_parallel) * tensor_parallel
    return serving.chunk_tokens * token + serving.max_sequences * logits
