"""Clocks of small loops, counted by hand."""

import pytest
from sass_text import listing

from gpusim.spec.load import load_gpu
from validation.control_words import Control, controls
from validation.instruction_chain import Memory, Step, pass_clocks, steps
from validation.instruction_times import use
from validation.loop_times import last_loop, without_matrices
from validation.sass import parse

H100, L40S = load_gpu("h100_sxm"), load_gpu("l40s")
L2 = Memory(l2_clocks=370.0)


def loop(text: str) -> list[Step]:
    """The steps of a listing on H100."""
    lines = listing(f".L_x_0:\n{text}")
    return steps([x.opcode for x in parse(lines)], controls(lines), H100)


def test_stall_counts_and_barriers_are_read_from_the_listing() -> None:
    text = listing(".L_x_0:\n[1 W0] LDS R0, [R4]\n[15 R1 B05] STS [R4], R0\n[4] @!P0 BRA `(.L_x_0)")
    assert controls(text) == [
        Control(stall=1, written=0),
        Control(stall=15, read=1, waits=(0, 5)),
        Control(stall=4),
    ]
    assert [x.opcode for x in parse(text)] == ["LDS", "STS", "BRA"]


def test_a_chain_is_what_each_instruction_waits_for() -> None:
    """By hand: LDS at 0 is there at 4 + 1 + 26, MUFU 22 later; FADD stalls 4, BRA 5."""
    chain = loop("""
        [1 W0] LDS R0, [R4]
        [1 W1 B0] MUFU.EX2 R1, R0
        [4 B1] FADD R2, R1, R2
        [5] BRA `(.L_x_0)
    """)
    assert pass_clocks(chain, H100, L2, warps=1) == 31 + 22 + 4 + 5


def test_independent_instructions_issue_at_once_and_wait_once() -> None:
    """The second LDS issues a clock later and finds the unit free a clock later."""
    chain = loop("""
        [1 W0] LDS R0, [R4]
        [1 W1] LDS R1, [R4]
        [4 B01] FADD R2, R1, R0
        [5] BRA `(.L_x_0)
    """)
    assert pass_clocks(chain, H100, L2, warps=1) == 32 + 4 + 5


@pytest.mark.parametrize(("wait", "loads"), [("", 1), (" B0", 2)])
def test_each_load_that_waits_for_another_adds_an_l2_latency(wait: str, loads: int) -> None:
    chain = loop(f"""
        [1 W0] LDG.E.128 R0, desc[UR4][R2.64]
        [1 W1{wait}] LDG.E.128 R4, desc[UR4][R0.64]
        [4 B01] FADD R2, R1, R0
        [5] BRA `(.L_x_0)
    """)
    near, far = (
        pass_clocks(chain, H100, Memory(l2_clocks=clocks), warps=1) for clocks in (200.0, 300.0)
    )
    assert far - near == 100 * loads


def test_page_numbers_come_from_l2_once_for_all_warps_of_a_cta() -> None:
    """Of two warps the second finds them in L1, and the first goes on at 4 + 370."""
    chain = loop("[1 W0] LDG.E.64 R0, desc[UR4][R2.64]\n[4 B0] IADD3 R2, R0, R2\n[5] BRA `(.L_x_0)")
    assert pass_clocks(chain, H100, L2, warps=1) == 4 + 370 + 4 + 5
    assert pass_clocks(chain, H100, Memory(l2_clocks=38.0), warps=1) == 4 + 38 + 4 + 5


def test_a_tile_passes_the_port_after_the_loads_were_taken() -> None:
    """Four warps read 512 B each. Without a port the last is taken at 16; with one the first is at
    4, and all have passed at 4 + 2048 / 64. The barrier takes 1 + 16, BRA one."""
    chain = loop("[1 W0] LDG.E.128 R0, desc[UR4][R2.64]\n[1 B0] BAR.SYNC 0x0\n[1] BRA `(.L_x_0)")
    ported = Memory(l2_clocks=370.0, port_bytes=64.0)
    assert pass_clocks(chain, H100, L2, warps=4) == 16 + 370 + 18
    assert pass_clocks(chain, H100, ported, warps=4) == 36 + 370 + 18


def test_warps_of_a_scheduler_share_its_pipes() -> None:
    """Ten products each, of 4096 FLOP at 0.63 of 1024 a clock. The last issues nine of them after
    the first, nineteen with a second warp; the barrier then and BRA take 1 + 1 + 16 + 1."""
    product = "[1] HMMA.16816.F32.BF16 R0, R4, R8, R0\n"
    chain = loop(10 * product + "[1] BAR.SYNC 0x0\n[1] BRA `(.L_x_0)")
    clocks = 4096 / (0.63 * 1024)
    assert pass_clocks(chain, H100, L2, warps=4) == pytest.approx(9 * clocks + 19)
    assert pass_clocks(chain, H100, L2, warps=8) == pytest.approx(19 * clocks + 19, abs=1)


def test_ctas_that_never_meet_share_the_sm_from_start_to_end() -> None:
    """Even if one runs ahead: twice the products take twice the time."""
    chain = loop("[1] HMMA.16816.F32.BF16 R0, R4, R8, R0\n" * 10 + "[1] BRA `(.L_x_0)")
    alone = pass_clocks(chain, H100, L2, warps=4)
    assert alone == pytest.approx(10 * 4096 / (0.63 * 1024))
    assert pass_clocks(chain, H100, L2, warps=8) == pytest.approx(2 * alone)
    assert pass_clocks(chain, H100, L2, warps=4, ctas=3) == pytest.approx(3 * alone)


def test_a_warpgroup_waits_for_its_product() -> None:
    """64 x 128 x 16 at 4096 FLOP a clock: 64, then 30 to the accumulators, one and one."""
    chain = loop("""
        [1] HGMMA.64x128x16.F32.BF16 R24, gdesc[UR4], R24, gsb0
        [1] WARPGROUP.DEPBAR.LE gsb0, 0x0
        [1] BRA `(.L_x_0)
    """)
    assert pass_clocks(chain, H100, L2, warps=4) == 64 + 30 + 1 + 1


def test_copies_are_waited_for_at_their_barrier() -> None:
    chain = loop("""
        [1] LDGSTS.E.BYPASS.128 [R4], desc[UR4][R2.64]
        [1] LDGDEPBAR
        [4] DEPBAR.LE SB0, 0x0
        [5] BRA `(.L_x_0)
    """)
    assert pass_clocks(chain, H100, L2, warps=1) == 4 + 370 + 4 + 5


def test_products_in_fp8_hold_the_tensor_core_at_their_own_rate() -> None:
    """8192 FLOP at 0.86 of 512 a clock on L40S: as long as 4096 in 16 bits at half the rate."""
    fp8, bf16 = use("QMMA.16832.F32.E4M3.E4M3", L40S), use("HMMA.16816.F32.BF16", L40S)
    assert fp8.pipe == bf16.pipe == "tensor"
    assert fp8.clocks == bf16.clocks == pytest.approx(8192 / (0.86 * 512))


def test_the_way_around_matrix_products_is_the_longest_jump_over_all_of_them() -> None:
    code = parse(
        listing("""
        .L_x_0:
        [1] ISETP.NE P0, R0, RZ
        [1] @P0 BRA `(.L_x_2)
        [1] @P1 BRA `(.L_x_1)
        [1] HMMA.16816.F32 R0, R4, R8, R0
        .L_x_1:
        [1] FADD R0, R0, R1
        .L_x_2:
        [1] @P3 BRA `(.L_x_0)
        [1] EXIT
        """)
    )
    found = last_loop(code)
    assert found == [0, 1, 2, 3, 4, 5]
    assert without_matrices(code, found) == [0, 1, 5]
    assert without_matrices(code, [3, 4, 5]) == []
