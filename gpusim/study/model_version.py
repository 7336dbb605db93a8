"""Which model a result is of: the package's version and the content of its code and tables."""

import hashlib
from functools import cache
from pathlib import Path

from gpusim.spec.load import shipped
from gpusim.version import __version__

_PACKAGE = Path(__file__).resolve().parents[1]
#: What draws and prints results has no part in them.
_WITHOUT = ("report", "cli")


@cache
def model_version() -> str:
    """`0.1.0+` and 12 hex digits over all code from inputs to results and the tables that it reads.

    Profiles and workloads are inputs: results are keyed by their content beside this.
    """
    digest = hashlib.sha256()
    for name, file in sorted(_files()):
        digest.update(f"{name}\0".encode())
        digest.update(file.read_bytes())
    return f"{__version__}+{digest.hexdigest()[:12]}"


def _files() -> list[tuple[str, Path]]:
    code = [
        (str(file.relative_to(_PACKAGE)), file)
        for file in _PACKAGE.rglob("*.py")
        if file.relative_to(_PACKAGE).parts[0] not in _WITHOUT
    ]
    folders = ("validation/compiled", "validation/compiled_frameworks")
    tables = [
        (f"{folder}/{file.name}", file)
        for folder in folders
        for file in shipped(folder, ".csv").values()
    ]
    return code + tables
