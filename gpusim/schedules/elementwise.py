"""Kernels that touch each element once: copies, norms, activations. Only their bytes count."""

from functools import lru_cache

from gpusim.schedules.launch import Launch, once
from gpusim.schedules.step import Part, Pipe, Step
from gpusim.schedules.work import flat_work
from gpusim.units import ceil_div

#: Registers of copy kernels; only their occupancy depends on them.
REGISTERS = 32
#: Bytes that a lane moves at once, and threads of a plain copy's CTA.
LANE_BYTES, COPY_THREADS = 16, 128
#: Loads of a thread of a plain copy that are under way at once: all that it makes.
PLAIN_LOADS = 4


def copy_launch(name: str, *, read_bytes: float, write_bytes: float) -> Launch:
    """A kernel that reads so many bytes and writes so many others, each once.

    It runs as a plain copy: norms, rotary embeddings and activations wait for memory, not for
    their arithmetic. The tensors are its own (`NAME_in`, `NAME_out`).

    Raises:
        ValueError: if it moves nothing.
    """
    most = max(read_bytes, write_bytes)
    if most <= 0:
        raise ValueError(f"{name}: expected bytes to read or write, found none")
    items = ceil_div(int(most), min(int(most), PLAIN_LOADS * COPY_THREADS * LANE_BYTES))
    sizes = (read_bytes / items, write_bytes / items)
    return _plain(name, items, sizes, (f"{name}_in", f"{name}_out"))


def plain_copy(total: int, name: str, names: tuple[str, str], *, shrinks: int = 1) -> Launch:
    """So many bytes in, and as many out, or less by a factor."""
    size = min(total, PLAIN_LOADS * COPY_THREADS * LANE_BYTES)
    return _plain(name, ceil_div(total, size), (size, size // shrinks), names)


def _plain(name: str, items: int, sizes: tuple[float, float], names: tuple[str, str]) -> Launch:
    return copy(name, items, sizes, names=names, threads=COPY_THREADS, loads=1, stages=PLAIN_LOADS)


def copy(
    name: str,
    items: int,
    sizes: tuple[float, float],
    *,
    names: tuple[str, str],
    threads: int,
    loads: int,
    stages: int = 1,
    instructions: float = 0.0,
) -> Launch:
    """`items` CTAs that each read and write so many bytes, from and to tensors of these names.

    `instructions` are those of a CTA's warps beside the copy.
    """
    read, written = (float(items * size) for size in sizes)
    steps = ceil_div(int(sizes[0]), threads * LANE_BYTES)
    return Launch(
        name=name,
        threads=threads,
        registers=REGISTERS,
        smem_bytes=0,
        step=_step(threads, loads, stages, instructions / steps if instructions else 0.0),
        work=flat_work(items, steps=steps, loop_bytes=sizes[0], store_bytes=sizes[1]),
        reads=(once(names[0], read),),
        writes=(once(names[1], written),),
        plain=True,
    )


@lru_cache(maxsize=1024)
def _step(threads: int, loads: int, stages: int, issued: float) -> Step:
    amounts = {Pipe.FP32: float(threads)}
    if issued:
        amounts[Pipe.ISSUE] = issued
    return Step(
        tracks=((Part("move", amounts),),),
        load_bytes=float(threads * LANE_BYTES),
        loads=loads,
        stages=stages,
        syncs=0,
    )
