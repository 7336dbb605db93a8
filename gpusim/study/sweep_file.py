"""The CSV of a sweep: rows are appended in order, and a run that was cut off goes on after them.

One process at a time writes; the lock is of the file itself and ends with the process that holds
it, however it ends.
"""

import csv
import io
import os
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from gpusim.errors import SpecError, plain

#: Seconds between writes that are forced to the disk; others are safe unless the machine fails.
SYNC_S = 1.0
#: Bytes read at once.
BLOCK = 2**20


class SweepFile:
    """The file, open and locked until the end of the `with` block.

    Attributes:
        last_index: of the last complete row; -1 without one.
        rows: complete rows found when it was opened.
    """

    def __init__(self, path: Path, columns: Sequence[str], sweep: str) -> None:
        """Open the file, and cut off a line that was not written to its end.

        Args:
            path: where; a missing file is made.
            columns: the header, `index` first.
            sweep: what the column `sweep` has to hold.

        Raises:
            SpecError: if it cannot be written, another process writes it, or it holds anything
                but rows of this sweep.
        """
        self.path = path
        self._header = _line(columns)
        self._columns, self._sweep = list(columns), sweep
        self.last_index, self.rows, self._end = -1, 0, 0
        with _said(path):
            self._file = _locked(path)
            self._synced = time.monotonic()
            try:
                self._resume()
            except BaseException:
                self._file.close()
                raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        with _said(self.path):
            os.fsync(self._file.fileno())
            self._file.close()

    def append(self, text: str) -> None:
        """Add complete lines.

        Raises:
            SpecError: if that fails; what was written of them is taken back.
        """
        with _said(self.path):
            try:
                view = memoryview(text.encode())
                while view:
                    view = view[self._file.write(view) :]
            except BaseException:  # Ctrl-C too
                self._file.truncate(self._end)
                raise
            self._end = self._file.tell()
            if time.monotonic() - self._synced > SYNC_S:
                os.fsync(self._file.fileno())
                self._synced = time.monotonic()

    def _resume(self) -> None:
        """Read what is there, and stand at the end of its last complete line."""
        header = self._header.encode()
        start = self._file.read(len(header))
        if not header.startswith(start):
            raise self._other("other columns")
        if start == header:
            self._end = len(header)
            last = b""
            for line in _complete_lines(self._file):
                self._end += len(line)
                self._count(line)
                last = line
            if last:
                self._check(last)
        self._file.truncate(self._end)
        self._file.seek(self._end)
        if not self._end:
            self.append(self._header)

    def _count(self, line: bytes) -> None:
        index = line.partition(b",")[0]
        if not index.isdigit() or int(index) <= self.last_index:
            raise self._other("a row out of order")
        self.last_index = int(index)
        self.rows += 1

    def _check(self, line: bytes) -> None:
        row = next(csv.reader([line.decode("utf-8", "replace")]))
        if len(row) != len(self._columns) or row[self._columns.index("sweep")] != self._sweep:
            raise self._other("those of another, or of another version of the model")

    def _other(self, found: str) -> SpecError:
        return SpecError(f"{plain(str(self.path))}: expected rows of this sweep, found {found}")


def _complete_lines(file: io.FileIO) -> Iterator[bytes]:
    """Lines with their end, from where the file stands; what is behind the last is left out."""
    rest = b""
    while block := file.read(BLOCK):
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line + b"\n"


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(cells)
    return text.getvalue()


def _locked(path: Path) -> io.FileIO:
    """The file, opened and locked.

    Raises:
        SpecError: if another process has it.
    """
    while True:
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0)
        file = io.FileIO(os.open(path, flags, 0o666), "r+")
        try:
            _lock(file.fileno())
        except BlockingIOError as error:
            file.close()
            raise SpecError(
                f"{plain(str(path))}: expected to be the only one that writes to it, found another"
                " sweep at work"
            ) from error
        try:
            same = os.path.samestat(os.fstat(file.fileno()), path.stat())
        except FileNotFoundError:
            same = False
        if same:
            return file
        file.close()  # removed or replaced between opening and locking


def _lock(file: int) -> None:
    """Lock a file for this process.

    Raises:
        BlockingIOError: if another process has.
    """
    if sys.platform == "win32":
        import msvcrt

        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
    else:
        import fcntl

        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def _said(path: Path) -> Iterator[None]:
    """Say which file could not be written, and why."""
    try:
        yield
    except OSError as error:
        where = plain(str(path))
        raise SpecError(f"{where}: expected to write to it, found: {error.strerror}") from error
