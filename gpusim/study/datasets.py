"""Measured rows by name: those shipped with gpusim, and those of an installed package."""

from collections import Counter
from pathlib import Path

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.spec.load import shipped
from gpusim.study import aiconfigurator
from gpusim.study.measured import MeasuredRow
from gpusim.study.measured_csv import read_measured

#: Rows from papers and pages, a file for each source.
PUBLISHED = "published"
#: Rows that this project's own Triton kernels took on a GPU: `triton:l40s`.
TRITON = "triton:"
#: The file of a GPU's rows is this and its name.
TRITON_FILE = "triton_"

Read = tuple[list[MeasuredRow], Counter[str]]


def is_dataset(name: str) -> bool:
    """Whether a name is of the form of a dataset's, and not of a file's."""
    return name == PUBLISHED or name.startswith((TRITON, aiconfigurator.PREFIX))


def read_named(name: str) -> Read:
    """Rows of a dataset, and how many were left out by reason.

    Raises:
        SpecError: for an unknown name, or rows that are not there.
    """
    if name.startswith(aiconfigurator.PREFIX):
        return aiconfigurator.read_dataset(name)
    files = _published() if name == PUBLISHED else [_triton(name.removeprefix(TRITON))]
    return [row for file in files for row in read_measured(file)], Counter()


def known() -> str:
    """All datasets in one line, with what has to be installed or measured before."""
    names = [PUBLISHED, *measured()]
    if not measured():
        names.append(f"{TRITON}GPU (no GPU measured yet)")
    if aiconfigurator.is_installed():
        names += aiconfigurator.datasets()
    else:
        names.append(f"{aiconfigurator.PREFIX}SYSTEM/FRAMEWORK (after {aiconfigurator.INSTALL})")
    return ", ".join(names)


def suggestion(name: str) -> str:
    """`; did you mean 'x'?` where a dataset's name is close, and all of them."""
    installed = aiconfigurator.datasets() if aiconfigurator.is_installed() else []
    return f"{nearest(name, [PUBLISHED, *measured(), *installed])}; known: {known()}"


def _published() -> list[Path]:
    files = list(shipped("validation/published", ".csv").values())
    if not files:
        raise SpecError(f"{PUBLISHED}: expected the rows shipped with gpusim, found none")
    return files


def measured() -> list[str]:
    """Names of the datasets of this project's own kernels."""
    files = shipped("validation/measured", ".csv")
    return [
        f"{TRITON}{name.removeprefix(TRITON_FILE)}"
        for name in files
        if name.startswith(TRITON_FILE)
    ]


def _triton(gpu: str) -> Path:
    name = f"{TRITON}{plain(gpu)}"
    profiles = shipped("hardware")
    if gpu not in profiles:
        hint = nearest(gpu, profiles) or f"; known: {', '.join(profiles)}"
        raise SpecError(f"{name}: expected the name of a GPU, found {excerpt(gpu)}{hint}")
    file = shipped("validation/measured", ".csv").get(f"{TRITON_FILE}{gpu}")
    if file is None:
        raise SpecError(
            f"{name}: expected rows measured on this GPU, found none yet; measure them with:"
            f" python -m validation.measure --gpu {gpu}"
        )
    return file
