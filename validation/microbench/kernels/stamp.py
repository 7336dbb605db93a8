"""When and where a CTA ran: its SM, and the SM's clock counter and the GPU's timer at both ends.

The counter (`%clock64`) counts clocks of the SM; the timer (`%globaltimer`) counts ns. A CTA's row
of stamps is [sm, first clock, last clock, first ns, last ns], in int64. The interpreter has neither
register: there a kernel runs with CLOCKED=False and stores no stamps.
"""

import triton
import triton.language as tl


@triton.jit
def clock64(after):
    """The SM's clock counter, read once the integer `after` is known."""
    return tl.inline_asm_elementwise(
        "mov.u64 $0, %clock64;", "=l,r", [after], dtype=tl.int64, is_pure=False, pack=1
    )


@triton.jit
def global_ns(after):
    """The GPU's timer in ns, read once the integer `after` is known."""
    return tl.inline_asm_elementwise(
        "mov.u64 $0, %globaltimer;", "=l,r", [after], dtype=tl.int64, is_pure=False, pack=1
    )


@triton.jit
def sm_id():
    """The SM that the CTA runs on."""
    return tl.inline_asm_elementwise(
        "mov.u32 $0, %smid;", "=r", [], dtype=tl.int32, is_pure=False, pack=1
    )


@triton.jit
def start(stamps_ptr, CLOCKED: tl.constexpr):
    """Store the CTA's SM and its first clock and ns."""
    if CLOCKED:
        pid = tl.program_id(0)
        tl.store(stamps_ptr + pid * 5, sm_id().to(tl.int64))
        tl.store(stamps_ptr + pid * 5 + 3, global_ns(pid))
        tl.store(stamps_ptr + pid * 5 + 1, clock64(pid))


@triton.jit
def stop(stamps_ptr, result, CLOCKED: tl.constexpr):
    """Store the CTA's last clock and ns, once the float32 scalar `result` is known."""
    if CLOCKED:
        pid = tl.program_id(0)
        bits = result.to(tl.int32, bitcast=True)
        tl.store(stamps_ptr + pid * 5 + 2, clock64(bits))
        tl.store(stamps_ptr + pid * 5 + 4, global_ns(bits))
