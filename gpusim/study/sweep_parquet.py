"""The Parquet form of a sweep's rows, made from its CSV: row groups of a fixed size, typed columns.

Parquet cannot be appended to. Rows therefore go to a CSV beside it, which every run that ends
without being killed turns into Parquet; when all rows are there, the CSV goes.
"""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, plain
from gpusim.study.sweep_columns import Kind

#: Bytes of CSV read at once.
BLOCK = 2**23


def journal_of(output: Path) -> Path:
    """The CSV that rows of a Parquet file go to first.

    >>> journal_of(Path("rows.parquet")).name
    'rows.parquet.csv'
    """
    return output.with_name(f"{output.name}.csv")


def check_installed() -> None:
    """Refuse Parquet where it cannot be written.

    Raises:
        SpecError: naming what is to be installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError as error:
        raise SpecError(
            "--output: expected pyarrow for Parquet, found none: pip install 'gpusim[parquet]'"
        ) from error


def write_parquet(journal: Path, output: Path, columns: Mapping[str, Kind]) -> None:
    """Write all complete rows of a CSV as Parquet; the old file stays until the new one is whole.

    Raises:
        SpecError: if that fails.
    """
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    arrow = {"int": pa.int64(), "float": pa.float64(), "bool": pa.bool_(), "text": pa.string()}
    types = {name: arrow[kind] for name, kind in columns.items()}
    handle, name = tempfile.mkstemp(dir=output.parent, prefix=".gpusim-")
    os.close(handle)
    part = Path(name)
    try:
        reader: Any = pc.open_csv(
            journal,
            read_options=pc.ReadOptions(block_size=BLOCK, use_threads=False),
            convert_options=pc.ConvertOptions(
                column_types=types, null_values=[""], strings_can_be_null=True
            ),
        )
        with pq.ParquetWriter(part, pa.schema(list(types.items())), compression="zstd") as writer:
            for batch in reader:
                writer.write_batch(batch)
        part.chmod(journal.stat().st_mode & 0o777)
        _force_to_disk(part)  # the CSV goes when this stands in its place
        part.replace(output)
    except (OSError, pa.ArrowException) as error:
        where, reason = plain(str(output)), getattr(error, "strerror", None) or error
        raise SpecError(f"{where}: expected to write to it, found: {reason}") from error
    finally:
        part.unlink(missing_ok=True)


def _force_to_disk(file: Path) -> None:
    """Have what was written survive a failure of the machine."""
    with file.open("rb+") as written:
        os.fsync(written.fileno())


def last_row(output: Path) -> tuple[int, int, str]:
    """Number of rows of a Parquet file, and index and sweep of the last one.

    Raises:
        SpecError: if it has no such columns.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(output) as file:
            groups = file.metadata.num_row_groups
            if groups:
                rows = file.read_row_group(groups - 1, columns=["index", "sweep"]).to_pylist()
                return file.metadata.num_rows, int(rows[-1]["index"]), str(rows[-1]["sweep"])
    except (OSError, pa.ArrowException, KeyError, IndexError, TypeError) as error:
        where = plain(str(output))
        raise SpecError(
            f"{where}: expected rows of a sweep, found: {type(error).__name__}"
        ) from error
    return 0, -1, ""
