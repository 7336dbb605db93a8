"""Results kept in a folder by a digest of all that they depend on, the model's version included.

Every result is one file, written beside its place and moved there at once: readers see all of it or
nothing, whoever else writes, also where the folder is shared between machines. Two writers of a key
write the same.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from gpusim.errors import SpecError, plain


def key_of(inputs: Mapping[str, Any]) -> str:
    """32 hex digits over inputs, whatever the order of their names.

    >>> key_of({"q_len": 1, "kv_len": 8}) == key_of({"kv_len": 8, "q_len": 1})
    True
    """
    text = json.dumps(inputs, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Cache:
    """Results by key. There is no limit to its size; it may be deleted at any time."""

    def __init__(self, folder: str | Path) -> None:
        """Open the folder, made if it is missing.

        Raises:
            SpecError: if that is not possible.
        """
        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise _refused(self.folder, error) from error

    def get(self, key: str) -> dict[str, Any] | None:
        """The result of a key; None if there is none, or none that can be read."""
        try:
            found = json.loads(self._file(key).read_bytes())
        except (FileNotFoundError, ValueError):  # damaged by whatever: computed anew
            return None
        except OSError as error:
            raise _refused(self.folder, error) from error
        result = found.get("result") if isinstance(found, dict) else None
        return result if isinstance(result, dict) and found.get("key") == key else None

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Keep a result.

        Raises:
            SpecError: if it cannot be written.
        """
        file = self._file(key)
        text = json.dumps({"key": key, "result": result}, separators=(",", ":"))
        try:
            file.parent.mkdir(exist_ok=True)
            part = file.with_name(f".{uuid4().hex}.part")  # not of `tempfile`: others may read it
            try:
                with part.open("x", encoding="utf-8") as opened:
                    opened.write(text)
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
        except OSError as error:
            raise _refused(self.folder, error) from error

    def _file(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.json"


def _refused(folder: Path, error: OSError) -> SpecError:
    where = plain(str(folder))
    return SpecError(f"{where}: expected a folder to write to, found: {error.strerror}")
