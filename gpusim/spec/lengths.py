"""Lengths of prompts or outputs: one number, or a distribution given by its percentiles."""

import re
from collections.abc import Sequence
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from gpusim.errors import excerpt, plain

#: Longest prompt or output of one request.
MAX_TOKENS = 2**24

Tokens = Annotated[int, Field(strict=True, ge=1, le=MAX_TOKENS)]
_PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,3})?)")


class Lengths(BaseModel):
    """Tokens by percentile; written `1024`, or `{p50: 300, p90: 900, p99: 2500}`.

    Between two percentiles the logarithm of the length is linear in the percentile. Below the
    first and above the last one the nearest segment goes on, as far as `min` and `max` where they
    are given, and never below one token. One percentile alone is one length for all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    percentiles: tuple[tuple[float, Tokens], ...]
    min: Tokens | None = None
    max: Tokens | None = None

    @model_validator(mode="before")
    @classmethod
    def _from_file(cls, value: Any) -> Any:
        """Percentiles stand beside `min` and `max`; a number alone is the length of all."""
        if isinstance(value, int) and not isinstance(value, bool):
            return {"percentiles": ((50.0, value),)}
        if not isinstance(value, dict) or "percentiles" in value:
            return value
        found, rest = [], {}
        for name, length in value.items():
            if name in ("min", "max"):
                rest[name] = length
                continue
            found.append((_percentile(str(name)), _length(str(name), length)))
        if not found:
            raise ValueError("p50: expected a value, or another percentile, found none")
        return rest | {"percentiles": tuple(sorted(found))}

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        lengths = [length for _, length in self.percentiles]
        for (low, shorter), (high, longer) in zip(
            self.percentiles, self.percentiles[1:], strict=False
        ):
            if longer < shorter:
                raise ValueError(
                    f"p{high:g}: expected at least that of p{low:g} ({shorter}), found {longer}"
                )
        if self.min is not None and self.min > lengths[0]:
            raise ValueError(f"min: expected at most {lengths[0]}, found {self.min}")
        if self.max is not None and self.max < lengths[-1]:
            raise ValueError(f"max: expected at least {lengths[-1]}, found {self.max}")
        return self

    def quantile(self, shares: Sequence[float] | NDArray[np.float64]) -> NDArray[np.int64]:
        """Lengths below which these shares (0 to 1) of the requests lie, in whole tokens.

        >>> Lengths.model_validate({"p50": 100, "p90": 1000}).quantile([0.5, 0.7, 0.9]).tolist()
        [100, 316, 1000]
        """
        ranks = np.array([rank / 100 for rank, _ in self.percentiles])
        logs = np.log([float(length) for _, length in self.percentiles])
        where = np.asarray(shares, dtype=np.float64)
        found = np.interp(where, ranks, logs)
        if len(ranks) > 1:
            first, last = (np.diff(logs) / np.diff(ranks))[[0, -1]]
            found = np.where(where < ranks[0], logs[0] + first * (where - ranks[0]), found)
            found = np.where(where > ranks[-1], logs[-1] + last * (where - ranks[-1]), found)
        low, high = self.min or 1, self.max or MAX_TOKENS
        lengths: NDArray[np.int64] = np.rint(np.clip(np.exp(found), low, high)).astype(np.int64)
        return lengths

    @classmethod
    def file_schema(cls) -> dict[str, Any]:
        """JSON Schema of what a file may write."""
        tokens = {"type": "integer", "minimum": 1, "maximum": MAX_TOKENS}
        names = f"^(min|max|{_PERCENTILE.pattern})$"
        mapping = {
            "type": "object",
            "propertyNames": {"pattern": names},
            "additionalProperties": tokens,
        }
        return {"anyOf": [tokens, mapping]}

    def as_dict(self) -> dict[str, int]:
        """The distribution as a file writes it."""
        ends = {"min": self.min, "max": self.max}
        named = {f"p{rank:g}": length for rank, length in self.percentiles}
        return named | {name: end for name, end in ends.items() if end is not None}


def _percentile(name: str) -> float:
    match = _PERCENTILE.fullmatch(name)
    rank = float(match[1]) if match else 0.0
    if not 0 < rank < 100:
        raise ValueError(f"{plain(name)}: expected min, max or a percentile such as p50 or p99.9")
    return rank


def _length(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_TOKENS:
        raise ValueError(f"{name}: expected tokens from 1 to {MAX_TOKENS}, found {excerpt(value)}")
    return value
