"""Time to add up a tensor over the GPUs of a node, as serving frameworks do after a layer's parts.

Two ways, by size, as vLLM ships them (`custom_all_reduce.cu`, `custom_all_reduce.py`):

- Below `CUSTOM_LIMIT_BYTES`, over NVLink or between a pair on PCIe, one kernel reads its peers
  directly: all of each peer's tensor in one stage for a pair or a small tensor, else a share of
  each in a first stage and the sums in a second.
- Else NCCL: a ring, in the switch where it can add up, or through the host.

With n GPUs, S bytes on each, the link's `achieved_fraction` of its rate in B, and the profile's
constants (`link`):

    one stage    stage + peer·(n - 2) + (n - 1)·S / B
    two stages   2·(stage + peer·(n - 2)) + 2·(n - 1)/n·S / B
    ring         ring + 2·(n - 1)·ring_step + 2·(n - 1)/n·S / B
    switch       ring + 2·(n - 1)·ring_step + (1 + 1/n)·S / B
    host         ring + 2·(n - 1)·ring_step + 2·(n - 1)·S / host     (all ring traffic together)

Every time includes the kernel's launch in a graph. Checked against measured all-reduces in
`validation/README.md`.
"""

from gpusim.errors import SpecError
from gpusim.spec.gpu import MAX_NODE_GPUS, Gpu
from gpusim.units import GB, KIB, MIB, US_PER_S

#: From so many bytes on vLLM leaves the sum to NCCL (`max_size`, `should_custom_ar`).
CUSTOM_LIMIT_BYTES = 8 * MIB
#: Below so many bytes one stage does, for up to four GPUs and for more (`custom_all_reduce.cuh`).
ONE_STAGE_BYTES, ONE_STAGE_BYTES_MANY = 512 * KIB, 256 * KIB
#: From so many GPUs on NCCL lets the switch add up where it can: its rows on H100 with four and
#: eight GPUs follow that law, those with two the ring's.
SWITCH_GPUS = 4


def all_reduce_us(
    gpu: Gpu, num_bytes: float, num_gpus: int, *, custom_limit: float = CUSTOM_LIMIT_BYTES
) -> float:
    """Time in us to add up `num_bytes` on each of `num_gpus`; 0 for one.

    >>> from gpusim.spec.load import load_gpu
    >>> gpu = load_gpu("a100_sxm_80gb")  # 1 MB from the one peer at 0.69 x 300 GB/s, after 5 us
    >>> round(all_reduce_us(gpu, 1e6, 2), 2)
    9.83

    Raises:
        SpecError: for more GPUs than a node has.
    """
    n, link = num_gpus, gpu.link
    if n == 1:
        return 0.0
    check_node(n)
    over_nvlink = n <= link.nvlink_gpus
    rate = link.nvlink_gb_per_s if over_nvlink else link.pcie_gb_per_s
    bandwidth = _bytes_per_us(rate) * link.achieved_fraction
    if num_bytes < custom_limit and (over_nvlink or n == 2):
        stage = link.stage_us + link.peer_us * (n - 2)
        small = ONE_STAGE_BYTES if n <= 4 else ONE_STAGE_BYTES_MANY
        if n == 2 or num_bytes < small:
            return stage + (n - 1) * num_bytes / bandwidth
        return 2 * stage + 2 * (n - 1) / n * num_bytes / bandwidth
    start = link.ring_us + 2 * (n - 1) * link.ring_step_us
    if link.switch_gb_per_s and over_nvlink and n >= SWITCH_GPUS:
        switch = _bytes_per_us(link.switch_gb_per_s) * link.achieved_fraction
        return start + (1 + 1 / n) * num_bytes / switch
    if not over_nvlink and n > 2:
        return start + 2 * (n - 1) * num_bytes / _bytes_per_us(link.host_gb_per_s)
    return start + 2 * (n - 1) / n * num_bytes / bandwidth


def check_node(num_gpus: int) -> None:
    """Refuse more GPUs than reach one another.

    Raises:
        SpecError: for more than a node has.
    """
    if num_gpus > MAX_NODE_GPUS:
        raise SpecError(f"expected at most {MAX_NODE_GPUS} GPUs of a node, found {num_gpus}")


def _bytes_per_us(gb_per_s: float) -> float:
    return gb_per_s * GB / US_PER_S
