"""How FlashInfer's planner cuts a batch into work items (`scheduler.cuh`)."""

from collections.abc import Sequence as List
from dataclasses import dataclass

from gpusim.schedules.mask import seen_keys
from gpusim.spec.attention import Attention
from gpusim.spec.gpu import Gpu
from gpusim.units import ceil_div

#: Chunks of the KV range are no shorter than this, whatever the page.
MIN_CHUNK = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Work items of each KV head.

    Attributes:
        rows: query rows of a tile (packed heads count).
        chunk: keys of a part of the KV range; None: nothing is cut.
        parts: of the KV range, for each entry of `attention.sequences`.
        items: that the launch has room for; those beyond the planned ones end at once.
    """

    rows: int
    chunk: int | None
    parts: tuple[int, ...]
    items: int


def prefill_plan(
    attention: Attention, gpu: Gpu, *, captured: bool = False, indexed: bool = False
) -> Plan:
    """`PrefillPlan`: query rows by mean packed length, the KV range cut to fill the SMs twice.

    The chunk is the smallest, in pages and no less than 128 keys, whose items fit in 2·SMs / KV
    heads. A launch planned for a captured graph has as many items whatever it needs, and always
    merges.

    Args:
        attention: the problem.
        gpu: for its SMs.
        captured: planned with `use_cuda_graph`.
        indexed: the page table lists only the keys in the window (SGLang), else all.
    """
    group, page = attention.group_size, attention.page_size or 1
    tokens = sum(s.count * s.q_len for s in attention.sequences)
    rows = query_rows(tokens * group // attention.batch, attention.value_dim)
    tiles = [ceil_div(s.q_len * group, rows) for s in attention.sequences]
    pages = [ceil_div(s.kv_len, page) for s in attention.sequences]
    if indexed:
        pages = [ceil_div(seen_keys(attention, s), page) for s in attention.sequences]
    elif attention.window is not None:
        reach = ceil_div(attention.window - 1 + rows, page)
        pages = [min(n, reach) for n in pages]
    room = 2 * gpu.sm.count // attention.kv_heads
    counts = [s.count * n for s, n in zip(attention.sequences, tiles, strict=True)]
    chunk = smallest_chunk(counts, pages, room, max(1, MIN_CHUNK // page))
    if not captured and chunk >= max(pages):
        return Plan(rows=rows, chunk=None, parts=(1,) * len(pages), items=sum(counts))
    parts = tuple(ceil_div(n, chunk) for n in pages)
    planned = sum(n * p for n, p in zip(counts, parts, strict=True))
    if captured:
        most = ceil_div(tokens * group, rows) + attention.batch - 1
        planned = max(planned, room, most)
    return Plan(rows=rows, chunk=chunk * page, parts=parts, items=planned)


def decode_plan(attention: Attention, slots: int) -> Plan:
    """`DecodePlan` of the kernel on CUDA cores: chunks of 128 keys or more that fill its slots."""
    page = attention.page_size or 1
    pages = [ceil_div(seen_keys(attention, s), page) for s in attention.sequences]
    counts = [s.count for s in attention.sequences]
    whole = Plan(
        rows=attention.group_size, chunk=None, parts=(1,) * len(pages), items=attention.batch
    )
    if attention.batch * attention.kv_heads >= slots:
        return whole
    room = slots // attention.kv_heads
    chunk = smallest_chunk(counts, pages, room, max(1, MIN_CHUNK // page))
    parts = tuple(ceil_div(n, chunk) for n in pages)
    if max(parts) == 1:
        return whole
    items = sum(n * p for n, p in zip(counts, parts, strict=True))
    return Plan(rows=attention.group_size, chunk=chunk * page, parts=parts, items=items)


def query_rows(packed: int, head_dim: int) -> int:
    """`FA2DetermineCtaTileQ`: rows of a tile by the mean packed length of the batch.

    >>> query_rows(8, 128), query_rows(17, 128), query_rows(65, 128), query_rows(65, 256)
    (16, 64, 128, 64)
    """
    if packed > 64 and head_dim < 256:
        return 128
    return 64 if packed > 16 else 16


def smallest_chunk(counts: List[int], pages: List[int], room: int, least: int) -> int:
    """Fewest pages of a chunk with which Σ counts·ceil(pages / chunk) items fit (binary search).

    One sequence of 2,048 pages in 284 places: 8 pages, in 256 chunks.

    >>> smallest_chunk([1], [2048], 284, 2)
    8
    """
    low, high = least, max(pages)
    while low < high:
        middle = (low + high) // 2
        items = sum(n * ceil_div(p, middle) for n, p in zip(counts, pages, strict=True))
        low, high = (middle + 1, high) if items > room else (low, middle)
    return low
