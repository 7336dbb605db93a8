"""Listings as `nvdisasm -c -hex` writes them, from lines with a control before the instruction.

`[4 W0 R1 B23] LDS R0, [R1]` stalls for four clocks, sets barrier 0 when it has written and 1 when
it has read, and waits for 2 and 3. A line that ends with a colon is a label.
"""

import re

_CONTROL = re.compile(r"\[(\d+)(?: W(\d))?(?: R(\d))?(?: B(\d+))?\]\s*(.+)")


def listing(text: str) -> str:
    """The text of a kernel with these instructions."""
    lines, offset = [".text.kernel:"], 0
    for line in filter(None, map(str.strip, text.splitlines())):
        if found := _CONTROL.match(line):
            lines.append(f"        /*{offset:04x}*/   {found[5]} ;   /* 0x0000000000000000 */")
            lines.append(
                f"                           /* 0x{_upper_half(*found.groups()[:4]):016x} */"
            )
            offset += 16
        else:
            lines.append(line)
    return "\n".join(lines) + "\n"


def _upper_half(stall: str, written: str | None, read: str | None, waits: str | None) -> int:
    bits = int(stall) | int(written or 7) << 5 | int(read or 7) << 8
    return (bits | sum(1 << int(b) for b in waits or "") << 11) << 41
