"""The SM clock, read from the driver's management library (NVML) within this process.

A reading takes a few ms at most, where `nvidia-smi` takes a second. Functions and numbers are those
of NVML's C interface.
"""

import ctypes
import time

#: nvmlClockType_t.
SM_CLOCK = 1
#: A reading that takes longer is the last one.
SLOW_S = 0.3


class SmClock:
    """The clock of one GPU; unknown from the first reading on that fails or is slow."""

    def __init__(self, uuid: str) -> None:
        """Open the GPU of this UUID, `GPU-` included."""
        self._gpu = ctypes.c_void_p()
        self._nvml: ctypes.CDLL | None = None
        try:
            nvml = ctypes.CDLL("libnvidia-ml.so.1")
            opened = (
                nvml.nvmlInit_v2() == 0
                and nvml.nvmlDeviceGetHandleByUUID(uuid.encode(), ctypes.byref(self._gpu)) == 0
            )
        except (OSError, AttributeError):
            return
        if opened:
            self._nvml = nvml

    def mhz(self) -> int | None:
        """The clock now."""
        if self._nvml is None:
            return None
        begin, found = time.monotonic(), ctypes.c_uint()
        failed = self._nvml.nvmlDeviceGetClockInfo(self._gpu, SM_CLOCK, ctypes.byref(found))
        if failed or time.monotonic() - begin > SLOW_S:
            self._nvml = None
        return None if failed else found.value
