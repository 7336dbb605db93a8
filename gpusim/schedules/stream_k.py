"""Stream-K: equal runs of KV tiles for every worker, cut where one output ends and the next begins.

All tiles of all outputs stand in one line. Worker w of W does the tiles from start(w) on:

    M = ceil(T / W), H = T - (M - 1)·W workers do M tiles, the others M - 1
    start(w) = M·w - max(0, w - H)

Sources: Osama et al., "Stream-K" (arXiv 2301.03598); LeanAttention in ONNX Runtime, `lean_api.cc`.
"""

from dataclasses import dataclass

import numpy as np

from gpusim.schedules.columns import Floats, Ints
from gpusim.units import ceil_div


@dataclass(frozen=True, slots=True, kw_only=True)
class Segments:
    """Runs of tiles that one worker does of one output, in order. Most are whole outputs.

    Attributes:
        begin: first segment of each worker.
        output: of each segment, what it belongs to.

    And columns with a row per part, a segment that is not its whole output; first those with an
    output's first tile, whose workers write the output (hosts), then the others (guests):

    Attributes:
        part: which segment it is.
        first, stop: tiles [first, stop) of the output; hosts start at 0.
        peers: of a host, the workers after it that do the rest of the output, a segment each.
        later: of a guest, share of its worker's tiles that come after it. After a host come none.
    """

    begin: Ints
    output: Ints
    part: Ints
    first: Ints
    stop: Ints
    peers: Ints
    later: Floats

    def __len__(self) -> int:
        return len(self.output)


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


def worker_bounds(tiles: int, workers: int) -> Ints:
    """First tile of every worker, and the tile after the last one's.

    >>> worker_bounds(10, 4).tolist()
    [0, 3, 6, 8, 10]
    """
    most = ceil_div(tiles, workers)
    full = tiles - (most - 1) * workers
    worker = np.arange(workers + 1)
    bounds: Ints = most * worker - np.maximum(0, worker - full)
    return bounds


def cut(tiles: Ints, workers: int) -> Segments:
    """The segments of so many workers over outputs of so many tiles each, all above 0.

    Two outputs of five tiles on three workers; the one in the middle ends the first output, then
    begins the second:

    >>> plan = cut(np.array([5, 5]), 3)
    >>> plan.begin.tolist(), plan.output.tolist()
    ([0, 1, 3], [0, 0, 1, 1])
    >>> plan.part.tolist(), plan.first.tolist(), plan.stop.tolist(), plan.peers.tolist()
    ([0, 2, 1, 3], [0, 0, 4, 2], [4, 2, 5, 5], [1, 1, 0, 0])
    """
    ends = np.cumsum(tiles)
    bounds = worker_bounds(int(ends[-1]), workers)
    starts, run = bounds[:-1], np.diff(bounds)
    # Of each worker: the output that it starts in, how far in, and its first segment.
    reached = np.searchsorted(ends, starts, side="right")
    inside = starts - ends[reached] + tiles[reached]
    guests = np.cumsum(inside > 0)
    begin = reached + guests
    total = len(tiles) + int(guests[-1])
    segments = np.append(begin[1:], total) - begin
    # Who starts inside an output is its guest, up to its end or that of the worker's own run.
    late = np.flatnonzero(inside)
    part, first, length = begin[late], inside[late], run[late]
    done = np.minimum(tiles[reached[late]] - first, length)
    # The worker before an output's first guest is its host.
    lead = np.flatnonzero(first <= run[late - 1])
    peers = np.append(lead[1:], len(late)) - lead
    none = np.zeros_like(lead)
    return Segments(
        begin=begin,
        output=np.arange(total) - np.repeat(guests, segments),
        part=np.concatenate((part[lead] - 1, part)),
        first=np.concatenate((none, first)),
        stop=np.concatenate((first[lead], first + done)),
        peers=np.concatenate((peers, np.zeros_like(late))),
        later=np.concatenate((none, (length - done) / length)),
    )
