"""The table of what calibration is worth, on rows that ship with gpusim."""

from validation.accuracy import README
from validation.three_ways import BEGIN, COLUMNS, END, found, report

GENERATED = README.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def test_a_line_has_the_errors_of_roofline_and_both_profiles() -> None:
    lines = list(found("published", sample=60, engine="analytic", workers=1))
    assert sum(int(line[3]) for line in lines) == 60
    (line,) = [line for line in lines if line[0] == "`h100_sxm`"]
    assert line[1:3] == ["`published`", "fit in part"]
    roofline, uncalibrated, calibrated = (float(cell) for cell in line[4::2])
    assert roofline > 3 * uncalibrated
    assert roofline > 3 * calibrated
    assert uncalibrated != calibrated


def test_profiles_without_rows_are_named() -> None:
    line = ["`l40s`", "`published`", "fit", "1", *["1.0"] * 6]
    text = report([line], engine="analytic", sample=60)
    assert "--sample 60 --engine analytic --write" in text
    assert "No dataset has rows of `a100_pcie_80gb`, " in text
    assert "`l40s`" not in text.partition("No dataset")[2]


def test_the_readme_has_every_profile_with_rows_to_calibrate_it() -> None:
    assert all(name in GENERATED for name in "|".join(COLUMNS).split("|"))
    for gpu in ("a100_sxm_80gb", "h100_sxm", "h200_sxm", "l40s"):
        assert f"| `{gpu}` |" in GENERATED
