"""Attention in float64, straight from its definition: what every kernel is checked against."""

import numpy as np
from numpy.typing import NDArray

from gpusim.spec.attention import Attention
from validation.kernels.problem import Problem

Floats = NDArray[np.float64]


def visible(attention: Attention, q_len: int, kv_len: int) -> NDArray[np.bool_]:
    """Which keys each query sees, [q_len, kv_len]; query i stands at position i + kv_len - q_len.

    >>> a = Attention(q_heads=1, kv_heads=1, head_dim=64, window=2, sequences=({"kv_len": 3},))
    >>> visible(a, 2, 3).astype(int).tolist()
    [[1, 1, 0], [0, 1, 1]]
    """
    position = np.arange(q_len)[:, None] + kv_len - q_len
    key = np.arange(kv_len)[None, :]
    seen = np.ones((q_len, kv_len), dtype=bool)
    if attention.causal:
        seen &= key <= position
    if attention.window is not None:
        seen &= np.abs(key - position) < attention.window
    return seen


def reference(problem: Problem) -> tuple[Floats, Floats]:
    """Output [queries, q_heads, head_dim] and log-sum-exp [queries, q_heads], in float64.

        S = QKᵀ / sqrt(head_dim), masked    LSE = log Σ exp(S)    O = exp(S - LSE) V

    A query that sees nothing has O = 0 and LSE = -inf.
    """
    attention = problem.attention
    q, k, v = (_float64(x) for x in (problem.q, problem.k, problem.v))
    outputs, statistics = [], []
    k_start = q_start = 0
    for q_len, kv_len in zip(problem.q_lens, problem.kv_lens, strict=True):
        queries = q[q_start : q_start + q_len]
        keys, values = (
            np.repeat(x[k_start : k_start + kv_len], attention.group_size, axis=1) for x in (k, v)
        )
        scores = np.einsum("qhd,khd->hqk", queries, keys) / np.sqrt(attention.head_dim)
        scores = np.where(visible(attention, q_len, kv_len), scores, -np.inf)
        top = np.maximum(scores.max(axis=-1, keepdims=True), np.finfo(np.float64).min)
        weights = np.exp(scores - top)
        total = weights.sum(axis=-1, keepdims=True)
        shares = np.divide(weights, total, out=np.zeros_like(weights), where=total > 0)
        outputs.append(np.einsum("hqk,khd->qhd", shares, values))
        with np.errstate(divide="ignore"):
            statistics.append((np.log(total) + top)[:, :, 0].T)
        q_start, k_start = q_start + q_len, k_start + kv_len
    return np.concatenate(outputs), np.concatenate(statistics)


def _float64(x: object) -> Floats:
    return np.asarray(x.double().cpu())  # type: ignore[attr-defined]
