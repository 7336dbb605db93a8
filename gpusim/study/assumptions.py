"""What a forward pass takes for granted: everything that no measurement of this project backs."""

from gpusim.spec.attention import BYTES
from gpusim.study.deployment import Deployment


def assumptions(deployment: Deployment, overhead_us: float) -> tuple[str, ...]:
    """One line each, for this model, data types, number of GPUs and stated overhead."""
    model, tp = deployment.model, deployment.tensor_parallel
    found = [
        "kernels run one after another, as in a CUDA-graph replay, with their weights cold in L2",
        "norms, rotary embeddings, activations, embedding and greedy sampling take the time of"
        " their bytes, launched as vLLM does",
        f"the framework takes {overhead_us:g} us a step outside kernels, as stated",
        "attention in every layer takes what one call of it takes, the framework's part included",
    ]
    if model.has_experts:
        found.append(
            "experts are used equally often: E(1 - (1 - k/E)^tokens) of E are read, with equal"
            " shares of the tokens, by a product like cuBLAS' dense ones"
        )
    if BYTES[deployment.weight_dtype] == 1:
        found.append(
            "activations are quantised by the kernels that make them; embeddings, head, norms and"
            " routers stay in 16 bit"
        )
    if tp > 1:
        found.append(
            f"all numbers are of one of {tp} GPUs but energy, which is of all; they keep step, and"
            " the gather of logits takes as long as an all-reduce of half its bytes"
        )
    if model.mla is not None:
        found.append("keys and values are made anew from the whole latent cache (MLA prefill)")
    if any(layer.window for layer in model.layers):
        found.append("layers with a window hold no more of the KV cache than their window")
    if model.left_out:
        found.append(f"not counted: {', '.join(model.left_out)}")
    return tuple(found)
