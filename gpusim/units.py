"""Unit conversions and roundings, each in one place."""

KIB = 1024
MIB = 1024 * KIB
GB = 10**9
US_PER_S = 1e6
NS_PER_US = 1e3
PJ = 1e-12


def ceil_div(value: int, by: int) -> int:
    """Quotient rounded up.

    >>> ceil_div(7, 2)
    4
    """
    return -(-value // by)


def round_up(value: int, unit: int) -> int:
    """Smallest multiple of `unit` that is not below `value`.

    >>> round_up(100, 64)
    128
    """
    return ceil_div(value, unit) * unit


def power_of_two(value: int) -> int:
    """Smallest power of two that is not below `value`.

    >>> power_of_two(96), power_of_two(128)
    (128, 128)
    """
    return 1 << (value - 1).bit_length()


def digits(value: float) -> str:
    """A number with three digits, from 0.001 on."""
    return f"{value:.{0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3}f}"


def duration(us: float) -> str:
    """A time with three digits and a fitting unit.

    >>> duration(0.5), duration(84.3), duration(84543.7)
    ('0.500 us', '84.3 us', '84.5 ms')
    """
    for scale, unit in ((1e6, "s"), (1e3, "ms")):
        if us >= scale:
            return f"{digits(us / scale)} {unit}"
    return f"{digits(us)} us"
