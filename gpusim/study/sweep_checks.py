"""What is wrong with a sweep whatever its points are: names, states, and fields of expressions."""

from collections.abc import Mapping
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.schedules.catalogue import check_choice
from gpusim.schedules.tiling import Tiling
from gpusim.spec.expression import Expression
from gpusim.spec.fields import steps
from gpusim.spec.gpu import Gpu
from gpusim.spec.sweep import Sweep
from gpusim.spec.sweep_fields import Kind, check_field
from gpusim.spec.what_if import fields_of
from gpusim.spec.workload import check_conditions
from gpusim.study.simulate import check_engine
from gpusim.study.sweep_plan import Axes, Plan


def check_schedules(axes: Axes) -> None:
    """Check names and options of schedules; options that vary by themselves are checked later.

    Raises:
        SpecError: for the first that there is not.
    """
    for field, values in ((f, axis[f]) for axis in axes for f in axis):
        if field == "schedule":
            for value in values:
                _check_schedule(value)
        elif field.startswith("schedule."):
            name = steps(field)[1]
            if name not in ("kernel", *Tiling.model_fields):
                hint = nearest(str(name), Tiling.model_fields)
                raise SpecError(f"{field}: expected an option of a schedule{hint}")


def check_states(axes: Axes) -> None:
    """Check the engines and states that vary, of which there are few.

    Raises:
        SpecError: for the first that there is not.
    """
    check = {
        "engine": lambda value: check_engine(str(value)),
        "l2": lambda value: check_conditions(value, "steady"),
        "load": lambda value: check_conditions("cold", value),
    }
    for field, values in ((f, axis[f]) for axis in axes for f in axis if f in check):
        for value in values:
            check[field](value)


def _check_schedule(value: Any) -> None:
    name = value.get("name") if isinstance(value, Mapping) else value
    if not isinstance(name, str):
        raise SpecError(f"schedule: expected a name, or a mapping with one, found {excerpt(value)}")
    options = {k: v for k, v in value.items() if k != "name"} if isinstance(value, Mapping) else {}
    check_choice(name, options)


def number_field(field: str, gpus: Mapping[str, Gpu]) -> str:
    """The number of a profile that `gpu.` and a field name; some GPU must have it.

    Raises:
        SpecError: if none has, or if it is a section.
    """
    name = field.removeprefix("gpu.")
    refused: SpecError | None = None
    for gpu in gpus.values():
        try:
            found = fields_of(gpu, name)
        except SpecError as error:
            refused = error
            continue
        if found == (name,):
            return name
        raise SpecError(
            f"{field}: expected a number, found a section; try {field}.{found[0][len(name) + 1 :]}"
        )
    raise SpecError(f"gpu.{refused}")


def check_expressions(sweep: Sweep, plan: Plan, kind: Kind) -> None:
    """Check the engine, and that computed fields and conditions are of fields that there are.

    Raises:
        SpecError: path of the expression, what was expected and what was found.
    """
    check_engine(sweep.engine)
    texts = [(f"derived.{plain(field)}", text) for field, text in sweep.derived.items()]
    texts += [(f"where[{i}]", text) for i, text in enumerate(sweep.where)]
    for field in sweep.derived:
        check_field(field, f"derived.{plain(field)}", kind)
        if field in ("gpu", "model"):  # found and read before points are made
            raise SpecError(f"derived.{field}: expected it in product or zip, not computed")
    for where, text in texts:
        for field in Expression(text).fields:
            if field in plan.leaves:
                continue
            try:
                if not field.startswith("gpu."):
                    raise SpecError(f"{field}: expected a field{nearest(field, plan.leaves)}")
                number_field(field, plan.gpus)
            except SpecError as error:
                raise SpecError(f"{where}: {error}") from error
