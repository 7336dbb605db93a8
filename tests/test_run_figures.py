"""Figures of runs: nothing cut off, nothing that is not in the table, whatever the names."""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from drawn import cut_off, drawn, overlapping, texts

from gpusim.cli.pictures import FIGURES
from gpusim.report.curve_figure import curve_figure
from gpusim.report.figures import FORMATS, STYLE
from gpusim.report.sensitivity_figure import sensitivity_figure
from gpusim.study.compare import compare_files
from gpusim.study.figure_tables import OF_SPANS, TABLES
from gpusim.study.predict import Case
from gpusim.units import duration

#: Of figures that are drawn by themselves in this size.
COMPOSED = (("overview", "many"), ("overview", "odd"))
Draw = Callable[..., bytes]
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def _coarse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pictures of 100 points an inch, which are drawn in a ninth of the time."""
    monkeypatch.setitem(STYLE, "savefig.dpi", 100)


@cache
def _cases(kind: str) -> tuple[Case, ...]:
    """All schedules on three GPUs, one of them, or two with names such as nobody should choose."""
    found = tuple(compare_files(["long_context_decode"], trace=True).cases)
    gpu = "\N{LATIN SMALL LETTER U WITH DIAERESIS}$_%" * 15
    named = [
        replace(c, result=replace(c.result, workload="$w_{" * 30, gpu=gpu, schedule="_ab%" * 30))
        for c in found[:2]
    ]
    return {"one": found[3:4], "many": found, "odd": tuple(named)}[kind]


@cache
def _rows(figure: str, kind: str) -> Rows:
    cases = _cases(kind)
    if kind == "many" and figure in ("sensitivity", *OF_SPANS):
        cases = cases[:5]  # enough for two columns
    return TABLES[figure](cases)


def _draw(figure: str) -> Draw:
    draw: Draw = getattr(import_module(f"gpusim.report.{figure}_figure"), f"{figure}_figure")
    return draw


@pytest.mark.parametrize(
    ("figure", "kind"),
    [(f, k) for f in FIGURES for k in ("one", "many", "odd") if (f, k) not in COMPOSED],
)
def test_every_text_is_whole_and_readable(
    figure: str, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _rows(figure, kind)
    found = drawn(monkeypatch, lambda: _draw(figure)(rows, title="$\\frac{", form="png"))
    assert (cut_off(found), overlapping(found)) == ([], [])
    assert "$\\frac{" in {text.get_text() for text in texts(found)}
    assert min(text.get_fontsize() for text in texts(found)) >= 4.8  # exponents, at 70 %


@pytest.mark.parametrize(
    ("figure", "form"), [*((f, "png") for f in FIGURES[1:]), *(("timeline", f) for f in FORMATS)]
)
def test_the_same_rows_make_the_same_bytes(figure: str, form: str) -> None:
    rows = _rows(figure, "one")
    first, second = (_draw(figure)(rows, title="a", form=form) for _ in range(2))
    assert first == second


def _widths(axes: Any) -> list[float]:
    return [patch.get_width() for patch in axes.patches]


def test_bars_of_the_breakdown_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("breakdown", "one")
    found = drawn(monkeypatch, lambda: _draw("breakdown")(rows, title="a", form="svg"))
    times, shares = found.axes
    assert _widths(times) == pytest.approx([row["us"] for row in rows])
    assert _widths(shares) == pytest.approx([100 * row["share"] for row in rows])
    total = duration(sum(row["us"] for row in rows))
    assert total in {text.get_text() for text in times.texts}


def test_causes_without_a_look_of_their_own_are_added_up(monkeypatch: pytest.MonkeyPatch) -> None:
    base = {"run": 0, "workload": "w", "gpu": "g", "schedule": "s", "approximation": ""}
    shares = [0.2, *[0.8 / 15] * 15]
    rows = [
        base | {"cause": f"c{n}", "us": 10 * share, "share": share}
        for n, share in enumerate(shares)
    ]
    found = drawn(monkeypatch, lambda: _draw("breakdown")(rows, title="a", form="svg"))
    widths = _widths(found.axes[1])
    assert len(widths) == 11
    assert widths[-1] == pytest.approx(100 * 6 * 0.8 / 15)
    assert sum(widths) == pytest.approx(100)
    faces = [(patch.get_facecolor(), patch.get_hatch()) for patch in found.axes[1].patches]
    assert len(set(faces)) == len(faces)


def test_bars_of_the_traffic_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("traffic", "one")
    found = drawn(monkeypatch, lambda: _draw("traffic")(rows, title="a", form="svg"))
    levels = {row["level"]: row["bytes"] / 1e9 for row in rows}
    widths = [_widths(axes) for axes in found.axes]
    expected = [["hbm_read", "hbm_write"], ["l2_to_sm"], ["shared_memory"]]
    assert widths == [pytest.approx([levels[name] for name in names]) for names in expected]
    (mark,) = found.axes[0].collections
    assert mark.get_segments()[0][0][0] == pytest.approx(levels["compulsory"])


def test_points_and_ceilings_of_the_roofline_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("roofline", "one")
    found = drawn(monkeypatch, lambda: _draw("roofline")(rows, title="a", form="svg"))
    lines = [line.get_xydata() for line in found.axes[0].lines]
    points = {tuple(line[0]) for line in lines if len(line) == 1}
    runs = {(row["flop_per_byte"], row["tflops"]) for row in rows if row["kind"] == "run"}
    assert points == runs
    slopes = {round(1e3 * y / x, 6) for line in lines if len(line) == 2 for x, y in line[1:]}
    for row in rows:
        if row["kind"] == "memory":
            assert round(row["gb_per_s"], 6) in slopes
        elif row["kind"] == "compute":
            assert any((line[:, 1] == row["tflops"]).all() for line in lines)


def test_cells_of_the_timeline_mix_the_colours_of_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.colors import to_rgb

    from gpusim.report.timeline_figure import PHASES

    rows = _rows("timeline", "one")
    found = drawn(monkeypatch, lambda: _draw("timeline")(rows, title="a", form="png"))
    meshes = found.axes[0].collections
    assert len(meshes) == len({row["launch"] for row in rows})
    row = max((r for r in rows if r["launch"] == 0), key=lambda r: r["prologue"])
    edges = sorted({r[end] for r in rows if r["launch"] == 0 for end in ("start_us", "end_us")})
    cell = meshes[0].get_array()[row["sm"], edges.index(row["start_us"])]
    empty = 1 - sum(row[phase] for phase in PHASES)
    mixed = [
        empty + sum(row[phase] * to_rgb(colour)[channel] for phase, colour in PHASES.items())
        for channel in range(3)
    ]
    assert cell.tolist() == pytest.approx(mixed, abs=1e-5)


def test_steps_of_the_occupancy_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("occupancy", "one")
    found = drawn(monkeypatch, lambda: _draw("occupancy")(rows, title="a", form="svg"))
    values = found.axes[0].patches[0].get_data().values
    first = [100 * row["warps_fraction"] for row in rows if row["launch"] == 0]
    assert values == pytest.approx(first)


def test_bars_of_the_sensitivity_are_the_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _rows("sensitivity", "one")
    found = drawn(monkeypatch, lambda: _draw("sensitivity")(rows, title="a", form="svg"))
    changes = [100 * (row[side] / row["base"] - 1) for row in rows for side in ("low", "high")]
    assert _widths(found.axes[0]) == pytest.approx(changes)


def test_sensitivities_of_anything_can_be_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        {"label": "_rate $", "low": 9.0, "high": 12.0, "base": 10.0, "unit": "GPUs", "panel": name}
        for name in ("a", "b")
    ]
    found = drawn(monkeypatch, lambda: sensitivity_figure(rows, title="a", form="svg"))
    titles = [axes.get_title("left") for axes in found.axes]
    assert titles == ["a: 10.0 GPUs", "b: 10.0 GPUs"]
    flat = [row | {"low": 10.0, "high": 10.0} for row in rows]
    assert sensitivity_figure(flat, title="nothing moves", form="png")


def _curves(configurations: int, target: float | None = 50.0) -> Rows:
    return [
        {
            "metric": metric,
            "configuration": f"_{'h' * 20}$ x{n}",
            "x": float(x),
            "y": None if x == 9 else 10.0 + x**3 / (1 + n),
            "target": target,
        }
        for metric in ("TTFT p99 [ms]", "TPOT p99 [ms]")
        for n in range(configurations)
        for x in range(10)
    ]


@pytest.mark.parametrize("configurations", [1, 3, 20])
def test_curves_are_the_rows_and_their_targets(
    configurations: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = _curves(configurations)
    found = drawn(
        monkeypatch, lambda: curve_figure(rows, title="a", form="png", x_label="requests/s")
    )
    assert (cut_off(found), overlapping(found)) == ([], [])
    for axes in found.axes:
        assert len(axes.lines) == configurations + 1
        shown = [tuple(point) for line in axes.lines[:-1] for point in line.get_xydata()]
        metric = [row for row in rows if row["metric"] == axes.get_ylabel()]
        assert shown == [(row["x"], row["y"]) for row in metric if row["y"] is not None]
        assert set(axes.lines[-1].get_ydata()) == {50.0}
        assert axes.get_ylim()[1] >= 50
    looks = [
        (line.get_color(), line.get_marker(), line.get_linestyle())
        for line in found.axes[0].lines[:-1]
    ]
    assert len(set(looks)) == configurations
    assert curve_figure(_curves(1, None), title="no target", form="pdf", log_y=True)


def test_the_nearest_curve_shows_though_it_is_far_above_the_target(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rows = _curves(2, target=1.0)  # from 10 up, ten times the target
    found = drawn(monkeypatch, lambda: curve_figure(rows, title="a", form="png"))
    assert [axes.get_ylim()[1] for axes in found.axes] == [40.0, 40.0]


@pytest.mark.parametrize("command", ["simulate", "compare"])
def test_the_command_draws_and_saves_the_table_beside(
    command: str, cli: Cli, tmp_path: Path
) -> None:
    run = (command, "llama3_8b_decode", "--gpu", "h100_sxm", "--engine", "analytic")
    outcome = cli(*run, "--plot", "out.svg")
    assert (outcome.code, outcome.out) == (0, cli(*run).out)
    assert "figure: out.svg, its table: out.csv" in outcome.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "out.svg"]
    header = (tmp_path / "out.csv").read_text().splitlines()[0].split(",")
    assert header[:2] == (["figure", "run"] if command == "simulate" else ["run", "workload"])
    assert cli(*run, "--plot", "two.png", "--figure", "traffic").code == 0
    assert "hbm_write" in (tmp_path / "two.csv").read_text()


def test_a_timeline_from_the_command_traces_the_run(cli: Cli, tmp_path: Path) -> None:
    run = ("simulate", "llama3_8b_decode", "--gpu", "h100_sxm", "--plot", "t.png", "--figure")
    assert cli(*run, "timeline").code == 0
    lines = (tmp_path / "t.csv").read_text().splitlines()
    assert lines[0].endswith("sm,start_us,end_us,prologue,steps,epilogue,wait")
    assert len(lines) > 132


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--figure", "traffic"), "--figure: expected --plot FILE beside it"),
        (("--plot", "x.gif"), "--plot: expected a file with one of the suffixes"),
        (("--plot", "x.png", "--figure", "nonsense"), "--figure"),
        (("--plot", "x.png", "--output", "x.csv"), "the table of --plot: expected another file"),
        (
            ("--plot", "x.png", "--figure", "timeline", "--engine", "analytic"),
            "--figure timeline: expected --engine sim",
        ),
    ],
)
def test_a_bad_figure_is_refused_before_anything_runs(
    arguments: tuple[str, ...], message: str, cli: Cli, tmp_path: Path
) -> None:
    outcome = cli("compare", "llama3_8b_decode", *arguments)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err
    assert list(tmp_path.iterdir()) == []


def test_a_failure_leaves_neither_figure_nor_table(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    run = ("simulate", "llama3_8b_decode", "--gpu", "h100_sxm", "--engine", "analytic")
    assert cli(*run, "--plot", "out.png").code == 2
    assert list(tmp_path.iterdir()) == []


def test_a_table_never_replaces_an_input(cli: Cli, tmp_path: Path) -> None:
    source = Path(__file__).parents[1] / "workloads" / "llama3_8b_decode.yaml"
    (tmp_path / "mine.csv").write_bytes(source.read_bytes())
    outcome = cli("simulate", "./mine.csv", "--plot", "mine.png")
    assert outcome.code == 2
    assert (tmp_path / "mine.csv").read_bytes() == source.read_bytes()


def test_parts_of_the_overview_are_those_of_its_figures() -> None:
    rows = _rows("overview", "one")
    assert list(dict.fromkeys(row["figure"] for row in rows)) == [
        "breakdown",
        "roofline",
        "traffic",
    ]
    for name in ("breakdown", "roofline", "traffic"):
        part = [row for row in rows if row["figure"] == name]
        assert [{k: v for k, v in row.items() if k != "figure"} for row in part] == _rows(
            name, "one"
        )
    changes = [a["figure"] != b["figure"] for a, b in pairwise(rows)]
    assert sum(changes) == 2
