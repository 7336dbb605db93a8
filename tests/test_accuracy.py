"""The accuracy that the README of `validation/` states is the model's accuracy today."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner

from gpusim.errors import SpecError
from gpusim.study import aiconfigurator
from gpusim.study.accuracy import errors
from gpusim.study.datasets import read_named
from gpusim.study.predict_row import Prediction
from gpusim.study.validate import Validation
from validation import accuracy, guard
from validation.tables import percent

README = accuracy.README.read_text(encoding="utf-8")
GENERATED = README.partition(accuracy.BEGIN)[2].partition(accuracy.END)[0]
#: Percentage points that a statistic may lie off: rounding, and a tie that another CPU breaks.
TOLERANCE = 0.6
#: Columns of the sample, after the number of rows, as `errors` names them.
STATISTICS = ("median_ape", "mean_ape", "p90_ape", "bias")

Row = tuple[int, tuple[float, ...]]


def _recorded() -> dict[str, Row]:
    """Rows and statistics of the README's sample, by dataset."""
    table = GENERATED.partition("| CI sample |")[2]
    rows = [line.strip("| ").split(" | ") for line in table.splitlines()[2:]]
    return {
        name.strip("`"): (int(n), tuple(float(cell) for cell in rest)) for name, n, *rest in rows
    }


def _row(predictions: list[Prediction]) -> Row:
    found = errors([p.predicted_us for p in predictions], [p.row.measured_us for p in predictions])
    return found["rows"], tuple(100 * found[name] for name in STATISTICS)


def _agree(found: Row, recorded: Row) -> bool:
    pairs = zip(found[1], recorded[1], strict=True)
    return found[0] == recorded[0] and all(abs(a - b) <= TOLERANCE for a, b in pairs)


def _skip_without_tables() -> None:
    """Other releases of the package may hold other rows."""
    made_with = GENERATED.partition(f"{accuracy.PACKAGE} ")[2].split()[0].rstrip(".")
    if not aiconfigurator.is_installed():
        pytest.skip(f"needs {accuracy.PACKAGE} and pyarrow: {aiconfigurator.INSTALL}")
    if version(accuracy.PACKAGE) != made_with:
        pytest.skip(
            f"the table is of {accuracy.PACKAGE} {made_with}, found {version(accuracy.PACKAGE)}:"
            f" pip install {accuracy.PACKAGE}=={made_with}, or make the table again"
        )


@pytest.mark.parametrize("name", _recorded())
def test_a_sample_is_as_far_from_measurements_as_the_readme_says(name: str) -> None:
    if name.startswith(aiconfigurator.PREFIX):
        _skip_without_tables()
    found, recorded = _row(accuracy.checked(name).predictions), _recorded()[name]
    assert _agree(found, recorded), (
        f"{name}: rows, median, mean, p90, bias: README {recorded}, now {found};"
        " if that is meant: python -m validation.accuracy --write"
    )


def test_every_dataset_stands_in_the_readme() -> None:
    _skip_without_tables()
    for name in accuracy.names():
        assert f"`{name}`" in GENERATED, "make it again: python -m validation.accuracy --write"


def test_the_sample_holds_every_dataset_of_the_table() -> None:
    table = GENERATED.partition("| dataset | set |")[2].partition("\n\n")[0]
    assert [line.split("`")[1] for line in table.splitlines()[2:]] == list(_recorded())
    assert len(_recorded()) >= 9
    assert set(accuracy.FIT_SETS) <= set(_recorded())


PREDICTIONS = [
    Prediction(row=row, predicted_us=row.measured_us * x, roofline_us=row.measured_us, bound="hbm")
    for row, x in zip(
        read_named("published")[0][::13], (0.8, 0.9, 1.1, 1.25, 1.3) * 2, strict=False
    )
]


def _scaled(by: float, every: int = 1) -> list[Prediction]:
    return [
        replace(p, predicted_us=p.predicted_us * by) if i % every == 0 else p
        for i, p in enumerate(PREDICTIONS)
    ]


@pytest.mark.parametrize(("by", "every"), [(1.02, 1), (0.98, 1), (1.15, 3), (0.7, 5)])
def test_a_model_that_changed_does_not_agree(by: float, every: int) -> None:
    recorded = _row(PREDICTIONS)
    assert _agree(_row(_scaled(1.001)), recorded)
    assert not _agree(_row(_scaled(by, every)), recorded)
    assert not _agree(_row(PREDICTIONS[1:]), recorded)


def _made_up(name: str, reasons: Mapping[str, int]) -> accuracy.Scored:
    found = Validation(
        predictions=PREDICTIONS, not_read=Counter(reasons), refused=Counter({"head_dim": 2})
    )
    return accuracy.Scored(name=name, rows=5000, found=found, checked=found)


@pytest.fixture
def _released(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(accuracy, "version", lambda _: "1.2.3")


@pytest.mark.usefixtures("_released")
def test_a_report_has_the_statistics_and_every_reason() -> None:
    nothing = Validation(predictions=[], not_read=Counter({"kernel": 7}), refused=Counter())
    empty = accuracy.Scored(name="none", rows=7, found=nothing, checked=nothing)
    made = [
        _made_up("aiconfigurator:l40s/vllm", {"beam": 3, "a type": 1}),
        _made_up("x", {}),
        empty,
    ]
    text = accuracy.report(made, engine="sim", sample=12)
    assert "with aiconfigurator-core 1.2.3. Of each dataset 12 rows" in text
    assert "| `aiconfigurator:l40s/vllm` | fit | 5,000 | 4 | 12 | 10 | 20 | 19 | 30 | +10 |" in text
    assert "| `x` | hold-out | 5,000 | 0 | 12 | 10 |" in text
    reasons = text.partition("Rows left out:\n\n")[2].partition("\n\n")[0].splitlines()
    assert reasons == [
        "- `aiconfigurator:l40s/vllm`: 1 of 5,000: a type",
        "- `aiconfigurator:l40s/vllm`: 3 of 5,000: beam",
        "- `aiconfigurator:l40s/vllm`: 2 of 12: head_dim",
        "- `x`: 2 of 12: head_dim",
        "- `none`: 7 of 7: kernel",
    ]
    assert text == accuracy.report(made, engine="sim", sample=12)


@pytest.mark.parametrize(
    ("share", "form", "text"),
    [
        (0.0734, "", "7.3"),
        (0.293, "", "29"),
        (0.09999, "", "10"),
        (-0.0004, "+", "+0.0"),
        (1.5, "+", "+150"),
        (-0.12, "+", "-12"),
        (None, "", ""),
    ],
)
def test_shares_have_two_digits(share: float | None, form: str, text: str) -> None:
    assert percent(share, form) == text


def test_tables_go_between_the_markers() -> None:
    text = f"title\n{accuracy.BEGIN}old\n{accuracy.END}rest\n"
    assert accuracy.with_tables(text, "new\n") == text.replace("old", "new")
    with pytest.raises(SpecError, match="expected the markers"):
        accuracy.with_tables(f"title\n{accuracy.BEGIN}old\n", "new\n")


@pytest.mark.usefixtures("_released")
def test_the_program_writes_the_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"title\n{accuracy.BEGIN}{accuracy.END}", encoding="utf-8")
    monkeypatch.setattr(accuracy, "README", readme)
    monkeypatch.setattr(accuracy, "names", lambda: ["x"])
    monkeypatch.setattr(accuracy, "scored", lambda name, **_: _made_up(name, {}))
    recorded: list[str] = []
    monkeypatch.setattr(guard, "record", lambda: recorded.append("medians"))
    shown = CliRunner().invoke(accuracy.main, ["--engine", "analytic"])
    assert shown.exit_code == 0
    assert "--sample 1000 --engine analytic --write" in shown.stdout
    assert recorded == []
    assert CliRunner().invoke(accuracy.main, ["--engine", "analytic", "--write"]).exit_code == 0
    written = readme.read_text(encoding="utf-8")
    assert written == f"title\n{accuracy.BEGIN}{shown.stdout}{accuracy.END}"
    assert recorded == ["medians"]


def test_without_the_package_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aiconfigurator, "find_spec", lambda _: None)
    outcome = CliRunner().invoke(accuracy.main, [])
    assert outcome.exit_code == 2
    assert outcome.stderr.startswith("accuracy: aiconfigurator: expected the packages")
    assert aiconfigurator.INSTALL in outcome.stderr
