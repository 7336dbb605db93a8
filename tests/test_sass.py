"""Loops and instruction counts of small listings, counted by hand."""

import pytest

from validation.natural_loops import loops
from validation.sass import Mix, innermost, parse, warp_flop, whole


def listing(text: str) -> str:
    """Lines as `nvdisasm -c` writes them: offsets before instructions, labels at the margin."""
    lines, offset = ["\t.section\t.text.kernel", "kernel:", ".text.kernel:"], 0
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.endswith(":"):
            lines.append(line)
        else:
            lines.append(f"        /*{offset:04x}*/                   {line} ;")
            offset += 16
    return "\n".join(lines) + "\n"


#: A loop over tiles in a loop over heads; the padding after EXIT is never reached.
NESTED = """
    S2R R0, SR_CTAID.X
    .L_x_0:
    LDG.E.128 R4, desc[UR4][R2.64]
    .L_x_1:
    LDSM.16.M88.4 R8, [R3+0x9000]
    HMMA.16816.F32 R12, R8.reuse, R4, RZ
    HMMA.1688.F32 R12, R8, R4, R12
    MUFU.EX2 R5, R5
    FFMA R6, R6, R7, -R5
    @!P0 BRA `(.L_x_1)
    MUFU.RCP R9, R9
    STG.E.128 desc[UR4][R2.64], R12
    @P1 BRA `(.L_x_0)
    EXIT
    .L_x_2:
    BRA `(.L_x_2)
    NOP
"""


def test_of_nested_loops_the_innermost_with_tensor_instructions_is_counted() -> None:
    code = parse(listing(NESTED))
    (loop,) = innermost(code, "tensor")
    assert loop == Mix(
        instructions=6, tensor=2, tensor_flop=4096 + 2048, exp2=1, fp32=1, smem_reads=1
    )
    assert [sorted(found) for found in loops([x.follows for x in code])] == [
        list(range(1, 11)),
        list(range(2, 8)),
    ]


def test_a_loop_is_found_by_what_it_holds() -> None:
    code = parse(listing(NESTED))
    (outer,) = innermost(code, "global_writes")
    assert (outer.instructions, outer.mufu, outer.exp2) == (10, 1, 1)
    assert innermost(code, "async_copies") == []


def test_a_whole_kernel_ends_before_its_padding() -> None:
    counted = whole(parse(listing(NESTED)))
    assert counted.instructions == 12
    assert (counted.global_reads, counted.global_writes, counted.tensor) == (1, 1, 2)


def test_a_retry_behind_the_end_belongs_to_the_loop_that_waits() -> None:
    code = parse(
        listing("""
        .L_x_0:
        SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR6+0x1c010], R6
        @!P0 BRA `(.L_x_2)
        .L_x_1:
        HGMMA.64x128x16.F32 R24, gdesc[UR8], R24, gsb0
        @!P3 BRA `(.L_x_0)
        EXIT
        .L_x_2:
        SYNCS.PHASECHK.TRANS64.TRYWAIT P0, [UR6+0x1c010], R6
        @!P0 BRA `(.L_x_2)
        BRA `(.L_x_1)
        """)
    )
    (loop,) = innermost(code, "tensor")
    assert loop == Mix(instructions=7, tensor=1, tensor_flop=2 * 16 * 128 * 16)
    assert sorted(map(len, loops([x.follows for x in code]))) == [2, 7]


def test_consumers_behind_a_branch_table_have_a_loop_each() -> None:
    code = parse(
        listing("""
        .L_x_0:
        BAR.SYNC.DEFER_BLOCKING 0x1
        BRX R4 -0xa0                (*"BRANCH_TARGETS .L_x_1,.L_x_2,.L_x_3,.L_x_4"*)
        .L_x_1:
        HGMMA.64x64x16.F32 R24, gdesc[UR8], R24
        FADD R0, R0, R1
        @P0 BRA `(.L_x_1)
        BRA `(.L_x_0)
        .L_x_2:
        HGMMA.64x64x16.F32 R24, gdesc[UR8], R24
        @P0 BRA `(.L_x_2)
        BRA `(.L_x_0)
        .L_x_3:
        UTMALDG.2D [UR8], [UR6]
        UTMALDG.2D [UR8], [UR6]
        @P0 BRA `(.L_x_3)
        BRA `(.L_x_0)
        .L_x_4:
        EXIT
        """)
    )
    assert [loop.instructions for loop in innermost(code, "tensor")] == [3, 2]
    (loader,) = innermost(code, "async_copies")
    assert (loader.async_copies, loader.instructions) == (2, 3)


def test_both_arms_of_a_condition_belong_to_the_loop() -> None:
    code = parse(
        listing("""
        .L_x_0:
        HMMA.16816.F32 R12, R8, R4, RZ
        @P0 BRA P1, `(.L_x_1)
        FSEL R0, R0, -INF , P2
        .L_x_1:
        FMNMX R1, R1, R0, !PT
        @P3 BRA `(.L_x_0)
        EXIT
        """)
    )
    (loop,) = innermost(code, "tensor")
    assert (loop.instructions, loop.fp32) == (5, 2)


@pytest.mark.parametrize(
    ("leave", "instructions"),
    [
        ("@P0 CALL.REL.NOINC `(.L_x_1)", 4),  # a jump out of the loop
        ("CALL.REL.NOINC `($kernel$__internal_0_$__cuda_sm20_div_u64)", 4),  # comes back
        ("BSSY B0, `(.L_x_1)", 4),  # names where threads meet again
        ("BRA P0, `(.L_x_1)", 4),  # its condition is an operand
        ("@!PT LDS RZ, [RZ]", 4),  # never executes: neither a read nor a way out
    ],
)
def test_a_loop_goes_on_after(leave: str, instructions: int) -> None:
    code = parse(
        listing(f"""
        .L_x_0:
        HMMA.16816.F32 R12, R8, R4, RZ
        {leave}
        LDS R0, [R1]
        BRA `(.L_x_0)
        .L_x_1:
        EXIT
        """)
    )
    (loop,) = innermost(code, "tensor")
    assert (loop.instructions, loop.smem_reads) == (instructions, 1)


@pytest.mark.parametrize("leave", ["BRA `(.L_x_1)", "CALL.REL.NOINC `(.L_x_1)", "EXIT", "RET.REL"])
def test_there_is_no_loop_after(leave: str) -> None:
    text = f"""
        .L_x_0:
        HMMA.16816.F32 R12, R8, R4, RZ
        {leave}
        BRA `(.L_x_0)
        .L_x_1:
        EXIT
    """
    code = parse(listing(text))
    assert innermost(code, "tensor") == []
    assert whole(code).tensor == 1


@pytest.mark.parametrize(
    ("opcode", "flop"),
    [
        ("HMMA.16816.F32.BF16", 4096),
        ("HMMA.1688.F32.TF32", 2048),
        ("QMMA.16832.F32.E4M3.E4M3", 8192),
        ("HGMMA.64x128x16.F32", 2 * 64 * 128 * 16 // 4),
        ("QGMMA.64x256x32.F32.E4M3.E4M3", 2 * 64 * 256 * 32 // 4),
        ("HFMA2.MMA", 0),
        ("WARPGROUP.ARRIVE", 0),
    ],
)
def test_a_matrix_instruction_has_the_flop_of_its_shape(opcode: str, flop: int) -> None:
    assert warp_flop(opcode) == flop


def test_an_empty_listing_has_nothing() -> None:
    assert parse("") == []
    assert whole([]) == Mix()
    assert innermost([], "tensor") == []
