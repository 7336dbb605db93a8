"""Stream-K: equal runs of KV tiles for every worker, cut where one output ends and the next begins.

All tiles of all outputs stand in one line. Worker w of W does the tiles from start(w) on:

    M = ceil(T / W), H = T - (M - 1)·W workers do M tiles, the others M - 1
    start(w) = M·w for w < H, else (M - 1)·w + H

Sources: Osama et al., "Stream-K" (arXiv 2301.03598); LeanAttention in ONNX Runtime, `lean_api.cc`.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gpusim.schedules.work import Ints
from gpusim.units import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Columns, a row per segment: a run of tiles that one worker does of one output, in order.

    Attributes:
        worker, output: whose it is, and of what.
        first, stop: tiles [first, stop) of the output.
        host: whether it holds the output's first tile; its worker writes the output.
        peers: of a host, the workers after it that do the rest of the output, a segment each.
        later: share of its worker's tiles that come after it.
    """

    worker: Ints
    output: Ints
    first: Ints
    stop: Ints
    host: NDArray[np.bool_]
    peers: Ints
    later: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.worker)


def lean_workers(tiles: int, outputs: int, longest: int, num_sms: int) -> int:
    """LeanAttention's grid (`lean_api.cc: get_num_splits_and_buffer_sizes`).

    With T tiles, O outputs and n tiles in the longest context:

        T <= 4·SMs:  min((T + 1) // 2, ceil(32·T / n))      at least two tiles a worker
        else:        min(2·SMs, 32·O)                       two CTAs an SM, about 64 splits at most

    Llama-3 8B decode at 32k on an H100: 8 outputs of 256 tiles.

    >>> lean_workers(2048, 8, 256, 132)
    256
    """
    if tiles <= 4 * num_sms:
        workers = min((tiles + 1) // 2, ceil_div(32 * tiles, longest))
    else:
        workers = min(2 * num_sms, 32 * outputs)
    return max(1, min(workers, tiles))


def worker_starts(tiles: int, workers: int) -> Ints:
    """First tile of every worker.

    >>> worker_starts(10, 4).tolist()
    [0, 3, 6, 8]
    """
    most = ceil_div(tiles, workers)
    full = tiles - (most - 1) * workers
    worker = np.arange(workers)
    return np.where(worker < full, most * worker, (most - 1) * worker + full)


def cut(tiles: Ints, workers: int) -> Segments:
    """The segments of so many workers over outputs of so many tiles each, all above 0.

    Two outputs of five tiles on three workers; the one in the middle ends the first output, then
    begins the second:

    >>> plan = cut(np.array([5, 5]), 3)
    >>> plan.worker.tolist(), plan.output.tolist(), plan.peers.tolist()
    ([0, 1, 1, 2], [0, 0, 1, 1], [1, 0, 1, 0])
    """
    ends = np.cumsum(tiles)
    begins = ends - tiles
    starts = worker_starts(int(ends[-1]), workers)
    low = _merged(begins, starts)
    high = np.append(low[1:], ends[-1])
    output = np.searchsorted(begins, low, side="right") - 1
    worker = np.searchsorted(starts, low, side="right") - 1
    host = low == begins[output]
    last = np.searchsorted(starts, ends[output] - 1, side="right") - 1
    stops = np.append(starts[1:], ends[-1])
    return Segments(
        worker=worker,
        output=output,
        first=low - begins[output],
        stop=high - begins[output],
        host=host,
        peers=np.where(host, last - worker, 0),
        later=(stops[worker] - high) / (stops - starts)[worker],
    )


def _merged(a: Ints, b: Ints) -> Ints:
    """The numbers of both, in order, each once."""
    both = np.sort(np.concatenate((a, b)))
    first: Ints = both[np.append(True, both[1:] != both[:-1])]
    return first
