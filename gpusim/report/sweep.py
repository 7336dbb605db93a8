"""What a run of a sweep did, for the terminal."""

from collections.abc import Mapping
from typing import Any

from gpusim.report.table import render, table


def sweep_table(found: Mapping[str, Any]) -> str:
    """Rows by what became of them, and why points failed."""
    rows = table(">rows|", title=found["output"])
    rows.add_row(str(found["resumed"]), "were there")
    rows.add_row(str(found["rows"]), "added")
    if found["cached"]:
        rows.add_row(str(found["cached"]), "of them from known results")
    if not found["failed"]:
        return render(rows)
    rows.add_row(str(found["failed"]), "of them without a result")
    errors = table(">rows|without a result because")
    for error in found["errors"]:
        errors.add_row(str(error["rows"]), error["reason"])
    return f"{render(rows)}\n{render(errors)}"
