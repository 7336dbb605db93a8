"""A sweep file: a base workload, the fields that vary, and which combinations run."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from gpusim.errors import SpecError, excerpt, plain
from gpusim.spec.expression import Expression
from gpusim.spec.load import find
from gpusim.spec.load_model import load_any_workload
from gpusim.spec.provenance import Frozen
from gpusim.spec.validate import validate
from gpusim.spec.yaml_file import read_mapping

#: Shipped examples.
FOLDER = "workloads/sweeps"

Text = Annotated[str, Field(min_length=1)]


class Sweep(Frozen):
    """Many predictions of one base workload.

    Every field of `product` varies by itself, the last one fastest; every mapping of `zip` is one
    more axis, whose fields vary together. `derived` then computes fields from others, and `where`
    keeps the combinations for which all conditions hold (`gpusim.spec.expression`).

    A field is one of a workload (`attention.head_dim`, `sequences[0].kv_len`, `l2`, `load`), the
    `engine`, the `gpu` or a number of its profile (`gpu.l2.capacity_mib`), the `schedule` or an
    option of it (`schedule.block_m`). Its values are a list, `{from, to, step}` or
    `{from, to, points, scale}`; of a profile's number also `{times: ...}` of those.

    `profiles` names what-if profiles: a profile to extend, and changes by field: a number,
    `{times: x}`, or `{from: GPU}`, also of a whole section.
    """

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="sweep", description="default: the file's name"
    )
    description: str = ""
    workload: dict[str, Any] = Field(
        description="the base: a shipped name, a file, or a workload written here"
    )
    engine: Literal["sim", "analytic"] = "sim"
    profiles: dict[Text, dict[str, Any]] = Field(
        default_factory=dict, description="what-if profiles by name: extends, and changes by field"
    )
    product: dict[Text, Any] = Field(default_factory=dict, description="values by field")
    zip: tuple[dict[Text, Any], ...] = Field(
        default=(), description="groups of fields that vary together"
    )
    derived: dict[Text, str | float] = Field(
        default_factory=dict, description="fields computed from others"
    )
    where: tuple[Text, ...] = Field(default=(), description="conditions, all of which must hold")
    launches: Annotated[bool, Field(strict=True)] = Field(
        default=False, description="also write each row's launches, as JSON"
    )

    @model_validator(mode="after")
    def _check_expressions(self) -> Self:
        texts: list[tuple[str, str | float]] = [
            *((f"where[{i}]", text) for i, text in enumerate(self.where)),
            *((f"derived.{plain(field)}", text) for field, text in self.derived.items()),
        ]
        for where, text in texts:
            try:
                Expression(text)
            except ValueError as error:
                raise ValueError(f"{where}: {error}") from error
        return self


def load_sweep(name_or_path: str | Path) -> Sweep:
    """Return the sweep for a shipped name or a file, with its workload read.

    A workload's file, and the profiles that it or the sweep names, are looked for beside the sweep
    first.

    Raises:
        SpecError: if a file is missing or does not validate.
    """
    path = find(name_or_path, FOLDER)
    document = read_mapping(path)
    base = document.get("workload")
    if isinstance(base, str):
        document["workload"] = _workload(path, base)
    elif isinstance(base, dict):
        document["workload"] = {"name": path.stem} | base
    elif base is not None:
        found = excerpt(base)
        raise SpecError(f"{path}: workload: expected a name, a file or a mapping, found {found}")
    return validate(Sweep, {"name": path.stem} | document, path)


def _workload(path: Path, name: str) -> dict[str, Any]:
    try:
        file = find(beside(path, name), "workloads")
        load_any_workload(file)
    except SpecError as error:
        raise SpecError(f"{path}: workload: {error}") from error
    document = {"name": file.stem} | read_mapping(file)
    if isinstance(document.get("model"), str):
        document["model"] = beside(file, document["model"])
    return document


def beside(path: Path, name: str) -> str:
    """What has that name in the folder of a file, if there is such a thing; else the name."""
    try:
        return str(path.parent / name) if name and (path.parent / name).exists() else name
    except OSError:
        return name
