"""What a command knows of its inputs, for its page."""

import shlex
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import click

from gpusim.report.page_inputs import Inputs
from gpusim.spec.gpu import Gpu

#: Where results go, and who computes them, says nothing of what they are.
_OUTPUTS = frozenset(
    {"style", "output", "plot", "figure", "trace", "trace_ctas", "report", "workers"}
    | {"cluster", "cache"}
)


def inputs_of(
    *,
    gpus: Sequence[Gpu],
    documents: Mapping[str, str] | None = None,
    needed: Collection[str] = (),
) -> Inputs:
    """The inputs of the command that runs: how to repeat it, and what it read.

    `needed` are outputs that it does not run without.
    """
    context = click.get_current_context()
    return Inputs(
        command=command_line(context, needed),
        options={k: v for k, v in context.params.items() if k not in _OUTPUTS},
        documents=documents or {},
        gpus=gpus,
    )


def inputs_of_workloads(files: Sequence[str], gpus: Sequence[str]) -> Inputs:
    """The same of a command that runs workload files."""
    from gpusim.spec.workload_text import workload_text
    from gpusim.study.files import inputs_of as read

    workloads, profiles = read(files, gpus=gpus)
    texts = {f"Workload {file}": workload_text(found) for file, found in workloads.items()}
    return inputs_of(gpus=profiles, documents=texts)


def command_line(context: click.Context, needed: Collection[str] = ()) -> str:
    """The command line that gives the same results; options at their default are left out."""
    outputs = _OUTPUTS.difference(needed)
    words = ["gpusim", str(context.info_name)]
    for parameter in context.command.params:
        value = context.params.get(str(parameter.name))
        if parameter.name in outputs or value in (None, (), parameter.get_default(context)):
            continue
        values = value if isinstance(value, tuple) else (value,)
        for each in values:
            words += _as_given(parameter, each)
    return shlex.join(words)


def _as_given(parameter: click.Parameter, value: Any) -> list[str]:
    if isinstance(parameter, click.Argument):
        return [str(value)]
    flag = getattr(parameter, "is_flag", False)
    return [parameter.opts[-1]] if flag else [parameter.opts[-1], str(value)]
