"""`--plot`, `--trace` and `--report` of the commands that predict workloads."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gpusim.cli.options import plot_option, report_option, trace_option
from gpusim.cli.output import emit, not_an_input, not_the_same, write_file
from gpusim.errors import SpecError, plain

if TYPE_CHECKING:
    from gpusim.study.predict import Case

F = TypeVar("F", bound=Callable[..., Any])
#: Each is drawn by `gpusim.report.<name>_figure` from the table that `gpusim.study` has for it.
FIGURES = (
    "overview",
    "timeline",
    "roofline",
    "breakdown",
    "traffic",
    "occupancy",
    "sensitivity",
)
#: Characters of a workload's name in a title.
MAX_TITLE = 90


def picture_options(command: F) -> F:
    """Add `--plot`, `--figure`, `--trace`, `--trace-ctas` and `--report` to a command."""
    figure = click.option(
        "--figure",
        type=click.Choice(FIGURES),
        help="What --plot draws; default: overview of simulate, breakdown of compare.",
    )
    thin = click.option(
        "--trace-ctas",
        type=click.IntRange(min=1),
        metavar="N",
        help="Keep spans of at most N CTAs of each launch in the trace.",
    )
    return plot_option(figure(trace_option(thin(report_option(command)))))


@dataclass(frozen=True, slots=True, kw_only=True)
class Pictures:
    """What a command was asked to draw, and how its runs are predicted.

    Attributes:
        engine: of the runs.
        default: the figure if none is named.
        plot, figure, trace, trace_ctas, report: the options.
    """

    engine: str
    default: str
    plot: Path | None
    figure: str | None
    trace: Path | None
    trace_ctas: int | None
    report: Path | None

    @property
    def kind(self) -> str:
        """The figure to draw."""
        return self.figure or self.default

    @property
    def table(self) -> Path | None:
        """The file of the figure's table."""
        return self.plot.with_suffix(".csv") if self.plot else None

    @property
    def traced(self) -> bool:
        """Whether the runs have to keep spans."""
        from gpusim.study.figure_tables import OF_SPANS

        return self.trace is not None or (self.plot is not None and self.kind in OF_SPANS)

    def check(self, output: Path | None, *inputs: Sequence[str]) -> None:
        """Refuse what cannot be drawn, before anything runs.

        Raises:
            SpecError: for options that need another one, a figure or trace that the engine has no
                spans for, or a file that would replace an input or another output.
        """
        from gpusim.study.figure_tables import check_traced

        if self.figure and self.plot is None:
            raise SpecError("--figure: expected --plot FILE beside it, found none")
        if self.trace_ctas and self.trace is None:
            raise SpecError("--trace-ctas: expected --trace FILE beside it, found none")
        if self.traced:
            check_traced(self.engine, "--trace" if self.trace else f"--figure {self.kind}")
        files = {"--output": output, "--plot": self.plot, "--trace": self.trace}
        files |= {"--report": self.report, "the table of --plot": self.table}
        for name, path in files.items():
            not_an_input(path, *inputs, option=name)
        not_the_same(files)

    def write(self, cases: "Sequence[Case]") -> None:
        """Draw the runs and say what was written."""
        if self.trace is not None:
            self._write_trace(self.trace, cases)
        if self.plot is not None and self.table is not None:
            self._write_figure(self.plot, self.table, cases)

    def _write_trace(self, path: Path, cases: "Sequence[Case]") -> None:
        from gpusim.report.trace import trace_file

        content, said = trace_file([case.result for case in cases], most_ctas=self.trace_ctas)
        write_file(content, path)
        size = f"{len(content) / 1e6:.1f} MB"
        click.echo(f"trace: {path}, {said}, {size}; open it at ui.perfetto.dev", err=True)

    def _write_figure(self, plot: Path, table: Path, cases: "Sequence[Case]") -> None:
        from gpusim.study.figure_tables import TABLES

        rows = TABLES[self.kind](cases)
        module = import_module(f"gpusim.report.{self.kind}_figure")
        draw: Callable[..., bytes] = getattr(module, f"{self.kind}_figure")
        drawn = draw(rows, title=self._title(cases), form=plot.suffix[1:].lower())
        emit(rows, str, style="csv", output=table)
        write_file(drawn, plot)
        click.echo(f"figure: {plot}, its table: {table}", err=True)

    def _title(self, cases: "Sequence[Case]") -> str:
        names = list(dict.fromkeys(case.result.workload for case in cases))
        of = plain(names[0])[:MAX_TITLE] if len(names) == 1 else f"{len(names)} workloads"
        engine = "analytic" if self.kind == "sensitivity" else self.engine
        return f"{of}, engine {engine}"
