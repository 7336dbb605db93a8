"""`--report`: the page of each command, written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpusim.cli.output import write_file
from gpusim.cli.page_inputs import inputs_of, inputs_of_workloads
from gpusim.report.page import Page, render_page

if TYPE_CHECKING:
    from gpusim.spec.sweep import Sweep
    from gpusim.study.predict import Case, Run
    from gpusim.study.ranking import Comparison
    from gpusim.study.sweep_plan import Plan
    from gpusim.study.validate import Validation


def simulate_report(report: Path, run: "Run", files: Sequence[str], gpus: Sequence[str]) -> None:
    """Write the page of predictions."""
    from gpusim.report.simulate_page import simulate_page

    rows = [result.as_dict() for result in run.results]
    inputs = inputs_of_workloads(files, gpus)
    figures = _figures(run.cases)
    _write(
        simulate_page(rows, inputs, figures=figures, notes=run.notes, skipped=run.skipped), report
    )


def compare_report(
    report: Path,
    found: "Comparison",
    files: Sequence[str],
    gpus: Sequence[str],
    baseline: str | None,
) -> None:
    """Write the page of a comparison."""
    from gpusim.report.compare_page import compare_page

    page = compare_page(
        [entry.as_dict() for entry in found.entries],
        inputs_of_workloads(files, gpus),
        baseline=baseline,
        figures=_figures(found.cases),
        skipped=found.skipped,
    )
    _write(page, report)


def validate_report(
    report: Path,
    found: "Validation",
    statistics: Mapping[str, Any],
    *,
    title: str,
    uncalibrated: bool,
) -> None:
    """Write the page of predictions against measurements, with the profiles as they were used."""
    from gpusim.report.validate_page import validate_page
    from gpusim.spec.load import load_gpu, load_uncalibrated

    rows = [prediction.as_row() for prediction in found.predictions]
    load = load_uncalibrated if uncalibrated else load_gpu
    gpus = [load(name) for name in dict.fromkeys(row["gpu"] for row in rows)]
    inputs = inputs_of(gpus=gpus)
    _write(validate_page(statistics, rows, found.trend(), inputs, title=title), report)


def plan_report(report: Path, answer: Mapping[str, Any], name: str) -> None:
    """Write the page of a plan's answer."""
    from gpusim.report.plan_page import plan_page
    from gpusim.spec.load import load_gpu, load_plan
    from gpusim.spec.plan_text import plan_text

    found = load_plan(name)
    gpus = [load_gpu(choice.name) for choice in found.gpus]
    inputs = inputs_of(gpus=gpus, documents={f"Plan {name}": plan_text(found)})
    _write(plan_page(answer, inputs), report)


def sweep_report(report: Path, sweep: "Sweep", plan: "Plan", output: Path, name: str) -> None:
    """Write the page of all rows in a sweep's output."""
    from gpusim.report.sweep_page import sweep_page
    from gpusim.spec.sweep_text import sweep_text
    from gpusim.study.sweep_summary import sweep_summary

    inputs = inputs_of(
        gpus=list(plan.gpus.values()),
        documents={f"Sweep {name}": sweep_text(sweep)},
        needed=("output",),
    )
    _write(sweep_page(sweep_summary(plan, output), inputs, title=sweep.name), report)


def _figures(cases: "Sequence[Case]") -> Any:
    from gpusim.report.run_figures import run_figures
    from gpusim.study.roofline import roofline
    from gpusim.study.run_tables import breakdown

    return run_figures(breakdown([case.result for case in cases]), roofline(cases))


def _write(page: Page, report: Path) -> None:
    write_file(render_page(page), report)
