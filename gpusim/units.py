"""Unit conversions, each in one place."""

KIB = 1024
MIB = 1024 * KIB
GB = 10**9
US_PER_S = 1e6
NS_PER_US = 1e3
