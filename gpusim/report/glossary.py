"""What the terms of tables and figures mean, in a sentence each."""

from collections.abc import Iterable

TERMS = {
    "hbm": "The GPU's memory (HBM or GDDR) is saturated: CTAs wait for its bandwidth.",
    "l2": "The L2 cache is saturated: CTAs wait for its bandwidth.",
    "tensor": "Matrix products on the tensor cores.",
    "shared_memory": "Reads and writes of the SM's shared memory.",
    "exp2": "Exponentials of the softmax, on the special-function units.",
    "fp32": "Other arithmetic of the softmax, on the FP32 units.",
    "convert": "Conversions between data types.",
    "shuffle": "Exchange of values between the threads of a warp.",
    "issue": "Instructions are issued as fast as the SM can issue them.",
    "sync": "Barriers and waits for loads within a step of the main loop.",
    "load_latency": "Waits for data that the kernel did not ask for early enough.",
    "cta_latency": "Start of a CTA, its first loads and its last store.",
    "fix_up": "Waits for partial results of other CTAs, and merging them.",
    "unfilled": "Slots that never get a CTA, because the grid is too small.",
    "tail": "Slots that idle while the last CTAs run.",
    "launch": "Gaps before kernels start.",
    "attention": "Attention of all layers, with the framework's kernels around it.",
    "gemm": "Matrix products of all layers: projections and feed-forward.",
    "norms": "Norms, rotary embeddings and activations of all layers.",
    "head": "Embedding, logits and sampling.",
    "all_reduce": "Exchange of partial results between GPUs that share the model.",
    "framework": "Time of a step outside kernels: scheduling, sampling, copies.",
    "combine": "A second kernel that merges the partial results of splits.",
    "bound": "What set the pace for most of the time.",
    "CTA": "Cooperative thread array: the threads that an SM (a core of the GPU) runs as one.",
    "slot": "Room for one CTA on an SM.",
    "CTAs/SM": "CTAs that fit on an SM at once, and in brackets what allows no more.",
    "warps": "Warp slots really occupied, averaged over the kernel and all SMs.",
    "waves": "CTAs over slots: 1.2 waves take two rounds, the second of them mostly empty.",
    "least traffic": "Inputs and outputs over the memory bus once each, in their data types.",
    "useful": "FLOP that exact attention needs; padding and masked tiles are issued beside them.",
    "sampled": "The schedule reads a sample of the values: its answer is approximate.",
    "lower precision": "Products in FP8 of a 16-bit problem: another answer than asked for.",
    "roofline": "The greater of FLOP at the peak rate and least traffic at peak bandwidth.",
    "bias": "Median of predicted over measured, less one: positive where predictions are too long.",
    "rank correlation": "1 where predictions order the rows as measurements do, 0 where at random.",
    "90th percentile": "Nine of ten errors are smaller.",
    "replica": "One copy of the model, on one GPU or on several that share it.",
    "x2": "After a GPU's name: so many GPUs share one copy (tensor parallel).",
    "TTFT": "Time to first token, from the arrival of a request.",
    "TPOT": "Time per output token after the first.",
    "goodput": "The highest rate at which the targets still hold.",
    "headroom": "Rate that is kept free for peaks, as a share of the planned rate.",
    "p95": "95 of 100 requests are as fast as this, or faster; p50 and p99 likewise.",
    "KV cache": "Keys and values of the tokens so far, which each further token reads.",
    "max batch": "Sequences of average length that fit at once.",
    "step time": "Time of one step of a replica, which gives each running request a token.",
    "preemptions": "Requests that lost their KV cache for want of memory, and start again.",
    "load": "Which clock runs: benchmark before the power limit acts, steady under it.",
    "cold, warm": "Whether the tensors of the call are in the L2 cache when it starts.",
}


def glossary(terms: Iterable[str]) -> dict[str, str]:
    """The terms that have a meaning here, in the order of TERMS."""
    used = set(terms)
    return {term: meaning for term, meaning in TERMS.items() if term in used}
