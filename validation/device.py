"""The GPU at hand: which profile is its own, and what the source of its numbers says of it."""

import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from importlib.util import find_spec

from gpusim.errors import SpecError
from gpusim.spec.gpu import Gpu

#: Profiles by the name that the driver gives the board.
PROFILES: Mapping[str, str] = {
    "NVIDIA A100-SXM4-40GB": "a100_sxm_40gb",
    "NVIDIA A100-SXM4-80GB": "a100_sxm_80gb",
    "NVIDIA A100 80GB PCIe": "a100_pcie_80gb",
    "NVIDIA H100 80GB HBM3": "h100_sxm",
    "NVIDIA H100 PCIe": "h100_pcie",
    "NVIDIA H200": "h200_sxm",
    "NVIDIA L40S": "l40s",
    "NVIDIA RTX 6000 Ada Generation": "rtx_6000_ada",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """A CUDA GPU: its name, its SMs, and versions of what measures on it."""

    name: str
    num_sms: int
    driver: str
    day: str
    torch: str
    triton: str


def profile_name(device_name: str) -> str:
    """The shipped profile of a board.

    >>> profile_name("NVIDIA H200")
    'h200_sxm'

    Raises:
        SpecError: for a board without one, a slice of one (MIG) included.
    """
    if device_name not in PROFILES:
        raise SpecError(
            f"--gpu: expected a name, since no profile is known for {device_name}; "
            f"known: {', '.join(PROFILES.values())}"
        )
    return PROFILES[device_name]


def found_device() -> Device:
    """The current CUDA device.

    Raises:
        SpecError: if Torch, Triton or the GPU is missing, or Triton is told to interpret.
    """
    if missing := [name for name in ("torch", "triton") if find_spec(name) is None]:
        raise SpecError(
            f"expected Torch and Triton, found no {missing[0]}; pip install 'gpusim[triton]'"
        )
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise SpecError("TRITON_INTERPRET: expected it unset: the interpreter has no clock")
    import torch

    if not torch.cuda.is_available():
        raise SpecError("expected a CUDA GPU, found none; --dry-run shows what would be measured")
    board = torch.cuda.get_device_properties(torch.cuda.current_device())
    return Device(
        name=board.name,
        num_sms=board.multi_processor_count,
        driver=smi("driver_version"),
        day=datetime.now(UTC).date().isoformat(),
        torch=torch.__version__,
        triton=version("triton"),
    )


def check_same_board(device: Device, gpu: Gpu) -> None:
    """Refuse to measure one board for the profile of another.

    Raises:
        SpecError: if the number of SMs differs.
    """
    if device.num_sms != gpu.sm.count:
        raise SpecError(
            f"--gpu: expected a GPU of {gpu.sm.count} SMs for {gpu.name}, found {device.name} of "
            f"{device.num_sms}"
        )


def smi(query: str) -> str:
    """What `nvidia-smi` answers for the first GPU that is visible, 'unknown' without it."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0"
    command = ["nvidia-smi", f"--id={visible}", f"--query-gpu={query}", "--format=csv,noheader"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return answer.stdout.strip()
