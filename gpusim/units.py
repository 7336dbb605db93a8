"""Unit conversions, each in one place."""

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
