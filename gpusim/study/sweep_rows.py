"""What a summary needs of a sweep's rows, read from its file: a few columns, not all of them."""

from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, plain

#: Columns that are read.
COLUMNS = ("index", "approximation", "time_us", "bound", "tflops", "hbm_gb_per_s", "error")
_NUMBERS = ("time_us", "tflops", "hbm_gb_per_s")
_TEXT = ("approximation", "bound", "error")


def read_rows(output: Path) -> Any:
    """The rows as a DataFrame of `COLUMNS`; texts that are missing are ''. About 60 bytes a row.

    Raises:
        SpecError: if the file cannot be read.
    """
    import pandas as pd  # type: ignore[import-untyped]

    try:
        if output.suffix.lower() == ".parquet":
            rows = pd.read_parquet(output, columns=list(COLUMNS))
        else:
            kinds = dict.fromkeys(_TEXT, "category")
            exact = dict.fromkeys(_NUMBERS, _number)  # pandas' own reading can be a digit off
            rows = pd.read_csv(output, usecols=list(COLUMNS), dtype=kinds, converters=exact)
    except (OSError, ValueError) as error:
        raise SpecError(
            f"{plain(str(output))}: expected rows of a sweep, found: {type(error).__name__}"
        ) from error
    for name in _TEXT:
        rows[name] = rows[name].astype(object).fillna("")
    return rows


def _number(text: str) -> float:
    return float(text or "nan")
