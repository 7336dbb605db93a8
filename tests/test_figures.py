"""Figures: their formats, what they show of many rows, and that none is left half-written."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gpusim.errors import SpecError
from gpusim.report.figures import COLOURS, FORMATS, MARKERS, look
from gpusim.report.validate_figure import MAX_SERIES, MAX_VECTOR_POINTS, OTHERS, validation_figure
from gpusim.schedules.catalogue import SCHEDULES
from gpusim.schedules.implementations import IMPLEMENTATIONS
from gpusim.study import validate as study

ROWS = """gpu,kernel,phase,batch,q_len,kv_len,q_heads,kv_heads,head_dim,dtype,kv_dtype,causal,\
window,page_size,l2,measured_us,source
l40s,flash_attn_2,decode,1,1,4096,8,8,128,bf16,,true,,,warm,80.9,a page
l40s,flash_attn_2,prefill,1,4096,4096,8,8,128,bf16,,true,,,warm,400,a page
"""
STARTS = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}
VALIDATE = ("validate", "rows.csv", "--engine", "analytic", "--plot")


@pytest.fixture(autouse=True)
def _rows(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(ROWS, encoding="utf-8")


def _row(kernel: str, measured_us: float, error: float, phase: str = "decode") -> dict[str, Any]:
    predicted = measured_us * (1 + error)
    return {
        "kernel": kernel,
        "phase": phase,
        "measured_us": measured_us,
        "predicted_us": predicted,
    }


def _svg(rows: list[dict[str, Any]], title: str = "rows.csv") -> str:
    statistics = {"rows": len(rows), "median_ape": 0.0789, "p90_ape": 0.3}
    trend = [(10.0, 0.1), (100.0, -0.1)]
    return validation_figure(rows, statistics, trend, title=title, form="svg").decode()


@pytest.mark.parametrize("name", [*(f"out.{form}" for form in FORMATS), "OUT.PNG"])
def test_the_suffix_decides_the_format(name: str, cli: Cli, tmp_path: Path) -> None:
    drawn = cli(*VALIDATE, name)
    assert (drawn.code, drawn.err) == (0, "")
    assert drawn.out == cli(*VALIDATE[:-1]).out
    assert (tmp_path / name).read_bytes().startswith(STARTS[name[-3:].lower()])
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", name}


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_rows_make_the_same_bytes(form: str, cli: Cli, tmp_path: Path) -> None:
    outputs = [tmp_path / f"{n}.{form}" for n in (1, 2)]
    for output in outputs:
        cli(*VALIDATE, output.name)
    assert outputs[0].read_bytes() == outputs[1].read_bytes()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.gif", "expected a file with one of the suffixes .png, .svg, .pdf, found out.gif"),
        ("out", "expected a file with one of the suffixes"),
        (".png", "expected a file with one of the suffixes"),
        ("no/out.png", "expected an existing folder, found no"),
    ],
)
def test_a_bad_plot_is_refused_before_anything_runs(
    name: str, message: str, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "read_sources", lambda _: pytest.fail("it ran"))
    outcome = cli(*VALIDATE, name)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert f"--plot: {message}" in outcome.err


def test_a_plot_replaces_neither_the_input_nor_the_output(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").rename(tmp_path / "rows.png")
    read = cli("validate", "rows.png", "--plot", "rows.png")
    assert (read.code, (tmp_path / "rows.png").read_text()) == (2, ROWS)
    assert "--plot: expected another file than the input" in read.err
    both = cli("validate", "rows.png", "--plot", "x.svg", "--output", "x.svg")
    assert (both.code, (tmp_path / "x.svg").exists()) == (2, False)
    assert "--plot: expected another file than --output" in both.err


def test_a_failure_leaves_the_old_figure(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.png").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    outcome = cli(*VALIDATE, "out.png")
    assert outcome.code == 2
    assert "out.png: expected to write to it, found: No space left on device" in outcome.err
    assert (tmp_path / "out.png").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"rows.csv", "out.png"}


def test_series_differ_in_colour_and_marker() -> None:
    looks = [tuple(look(index).values()) for index in range(len(COLOURS) * len(MARKERS))]
    assert len(set(looks)) == len(looks)
    near = [looks[index : index + len(COLOURS)] for index in range(MAX_SERIES - len(COLOURS))]
    assert all(len({colour for colour, _ in group}) == len(COLOURS) for group in near)


def test_the_title_says_dataset_engine_rows_and_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = _texts(monkeypatch, [_row("flash2", 10, 0.1)], title="mine, engine sim")
    assert "mine, engine sim\n1 rows, absolute error: median 7.9%, 90th percentile 30.0%" in texts
    assert {"flash2, decode", "within 20%", "median"} <= texts


def test_the_rarest_series_share_a_look(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [_row(f"k{n:02}", 10 + i, 0.1) for n in range(MAX_SERIES + 3) for i in range(20 - n)]
    texts = _texts(monkeypatch, rows)
    assert {"k00, decode", f"k{MAX_SERIES - 1:02}, decode", OTHERS} <= texts
    assert f"k{MAX_SERIES:02}, decode" not in texts


def test_errors_beyond_the_axis_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [_row("flash2", 10, 0.1), _row("flash2", 20, 3.0), _row("flash2", 30, 9.0)]
    assert "2 above, up to +900%" in _texts(monkeypatch, rows)


def test_names_of_the_users_are_not_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    row = _row("flash2", 10, 0.1, phase="$\\frac{")
    assert "flash2, $\\\\frac{" in _texts(monkeypatch, [row], title="$x_{")


@pytest.mark.parametrize("phases", [("prefill", "decode"), ("W" * 24, "M" * 24)])
def test_the_legend_fits_whatever_the_names(
    phases: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All kernels that measured rows can have, in turn, as many as have a look of their own."""
    names = sorted((*SCHEDULES, *IMPLEMENTATIONS), key=len, reverse=True)
    for first in range(0, len(names), MAX_SERIES // 2):
        kernels = names[first : first + MAX_SERIES // 2 + 1]
        rows = [_row(kernel, 10, 0.1, phase) for kernel in kernels for phase in phases]
        (figure,) = _figures(monkeypatch, rows)
        (legend,), (low, high) = figure.legends, (0, figure.bbox.width)
        box = legend.get_window_extent()
        assert low <= box.x0 < box.x1 <= high
        assert 0 <= box.y0 < box.y1 < min(axes.bbox.y0 for axes in figure.axes)


def test_short_names_stand_in_four_columns_and_the_panels_keep_their_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    short = [_row(f"k{n}", 10, 0.1) for n in range(MAX_SERIES)]
    long = [_row(f"{'k' * 40}{n}", 10, 0.1) for n in range(MAX_SERIES)]
    (few,), (many,) = _figures(monkeypatch, short), _figures(monkeypatch, long)
    assert few.get_size_inches().tolist() == [7.2, 3.8]
    assert len({round(text.get_window_extent().x0) for text in few.legends[0].get_texts()}) == 4
    assert many.get_size_inches()[0] == 7.2
    assert many.axes[1].bbox.height == pytest.approx(few.axes[1].bbox.height, rel=0.1)


def _figures(monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]]) -> list[Any]:
    """The figure of these rows, as it is when it is saved."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    save = Figure.savefig

    def watched(figure: Figure, *args: Any, **options: Any) -> None:
        save(figure, *args, **options)
        found.append(figure)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", watched)
        statistics = {"rows": len(rows), "median_ape": 0.0789, "p90_ape": 0.3}
        validation_figure(rows, statistics, [(10.0, 0.1)], title="rows.csv", form="png")
    return found


def _texts(
    monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], title: str = "rows.csv"
) -> set[str]:
    """All texts of the figure."""
    from matplotlib.figure import Figure
    from matplotlib.text import Text

    found: set[str] = set()
    save = Figure.savefig

    def watched(figure: Figure, *args: Any, **options: Any) -> None:
        found.update(text.get_text() for text in figure.findobj(Text))
        save(figure, *args, **options)

    monkeypatch.setattr(Figure, "savefig", watched)
    _svg(rows, title)
    return found


def test_many_points_become_a_picture_within_a_vector_format() -> None:
    few = [_row("flash2", 10 + i, 0.1) for i in range(MAX_VECTOR_POINTS)]
    assert "<image" not in _svg(few)
    many = [*few, _row("flash2", 10, 0.1)]
    assert "<image" in _svg(many)
    assert len(_svg(many)) < len(_svg(few))


def test_drawing_needs_no_display_and_other_runs_no_matplotlib(tmp_path: Path) -> None:
    program = (
        "import sys; from gpusim.cli import gpusim; gpusim(sys.argv[1:], standalone_mode=False);"
        " print(sorted(n for n in ('matplotlib', 'matplotlib.pyplot') if n in sys.modules))"
    )

    def modules(*arguments: str) -> str:
        command = [sys.executable, "-c", program, *VALIDATE[:-1], *arguments]
        run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
        return run.stdout.splitlines()[-1]

    assert modules() == "[]"
    assert modules("--plot", "out.png") == "['matplotlib']"


def test_no_rows_no_figure(cli: Cli, tmp_path: Path) -> None:
    refused = ROWS.replace(",128,bf16", ",512,bf16")
    (tmp_path / "rows.csv").write_text(refused, encoding="utf-8")
    assert cli(*VALIDATE, "out.png").code == 2
    assert not (tmp_path / "out.png").exists()
    with pytest.raises(SpecError):
        study.validate([str(tmp_path / "rows.csv")], engine="analytic")
