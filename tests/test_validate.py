"""Measured rows: reading them, predicting them, and the statistics of both."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli

from gpusim.errors import SpecError
from gpusim.spec.load import load_gpu
from gpusim.study import aiconfigurator
from gpusim.study.accuracy import errors, median_errors, ranks, spearman
from gpusim.study.measured_csv import read_measured
from gpusim.study.predict_row import Prediction, predict_row
from gpusim.study.validate import validate

HEADER = (
    "gpu,kernel,phase,batch,q_len,kv_len,q_heads,kv_heads,head_dim,dtype,kv_dtype,causal,window,"
    "page_size,l2,measured_us,source"
)
VLLM, SGLANG = "aiconfigurator-core vLLM 0.14.0", "aiconfigurator-core SGLang 0.5.10"
#: Published: decode on A100 with FlashAttention-2 (8/8 and 8/1 heads) and FlashAttention-3's sm8x
#: path. The serial loop of a few CTAs, a split GQA call and a split MHA call.
ANCHORS = (
    f"a100_sxm_80gb,vllm_flash_attn_2,decode,1,1,4096,8,8,128,bf16,,true,,64,warm,101.7,{VLLM}",
    f"a100_sxm_80gb,vllm_flash_attn_2,decode,1,1,65536,8,8,128,bf16,,true,,64,warm,1513.6,{VLLM}",
    f"a100_sxm_80gb,vllm_flash_attn_2,decode,1,1,65536,8,1,128,bf16,,true,,64,warm,69.7,{VLLM}",
    f"a100_sxm_80gb,sglang_flash_attn_3,decode,1,1,16384,8,1,128,bf16,,true,,,warm,33.8,{SGLANG}",
)
GOOD = ANCHORS[0]


def _write(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def test_published_anchors_are_predicted_within_a_fifth(tmp_path: Path) -> None:
    found = validate([str(_write(tmp_path / "a.csv", *ANCHORS))], workers=1)
    assert len(found.predictions) == len(ANCHORS)
    for prediction in found.predictions:
        ratio = prediction.predicted_us / prediction.row.measured_us
        assert ratio == pytest.approx(1, abs=0.2), prediction.row
        assert prediction.roofline_us < prediction.row.measured_us
    assert not found.not_read + found.refused


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("101.7", "-3"), "line 2, column measured_us: expected microseconds, more than 0, found"),
        (("101.7", "nan"), "line 2, column measured_us: expected microseconds"),
        (("4096", "4k"), "line 2, column kv_len: expected an integer, found '4k'"),
        (
            ("4096", "1000000000000"),
            "line 2, column kv_len: expected an integer from 1 to 16777216, found '1000000000000'",
        ),
        (("4096", "-1"), "line 2, column kv_len: expected an integer from 1 to 16777216, found"),
        (("4096", "9" * 5000), "line 2, column kv_len: expected an integer, found '9999"),
        (("64,warm", "-1,warm"), "line 2, column page_size: expected an integer from 1 to 65536,"),
        (("128", "8192"), "line 2, column head_dim: expected an integer from 8 to 512, found"),
        (("128", "100"), "line 2: head_dim: expected a multiple of 8, found 100"),
        (("decode,1,", "decode,0,"), "line 2, column batch: expected an integer from 1 to 1048576"),
        (("decode,1,", "decode,1000000000,"), "line 2, column batch: expected an integer from 1"),
        (("1,4096", "5000,4096"), "line 2: kv_len: expected at least q_len (5000) under a causal"),
        (("decode,1,1,", "decode,1048576,4096,"), "line 2: batch: expected at most 2147483648"),
        ((",8,8,", ",8,,"), "line 2, column kv_heads: expected an integer, found none"),
        ((",8,8,", ",8,3,"), "line 2: kv_heads: expected a divisor of q_heads (8), found 3"),
        (("a100_sxm_80gb", "a100"), "line 2, column gpu: a100: expected a GPU name"),
        (("vllm_flash_attn_2", "vllm_flash"), "line 2, column kernel: name: expected a schedule"),
        (("true", "maybe"), "line 2, column causal: expected true or false, found 'maybe'"),
        (("warm", "hot"), "line 2, column l2: expected warm or cold, found 'hot'"),
        (("bf16", "bf61"), "line 2: dtype: expected"),
        (("64,warm", "64"), "line 2: expected 17 values, found 16"),
        ((GOOD, GOOD.replace(",", ";")), "line 2: expected CSV with commas, found 'a100_sxm_80gb;"),
        ((HEADER, HEADER.replace(",", ";")), "line 1: expected CSV with commas, found 'gpu;kernel"),
        ((HEADER, HEADER.replace(",", "\t")), "line 1: expected CSV with commas, found 'gpu\\tker"),
        (("decode", '"decode'), "line 2: expected CSV with commas, found a quote that is not"),
        (
            ("decode", '"de"code'),
            "line 2: expected CSV with commas, found: ',' expected after '\"'",
        ),
        (("page_size,", "page,"), "line 1, column page: expected a known column"),
        (("window,", ""), "line 1: expected the column window, found none"),
        (("window,", "q_len,"), "line 1, column q_len: expected once, found twice"),
    ],
)
def test_a_malformed_file_is_refused_with_line_and_column(
    change: tuple[str, str], message: str, tmp_path: Path, cli: Cli
) -> None:
    text = f"{HEADER}\n{GOOD}\n".replace(*change, 1)
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    outcome = cli("validate", "rows.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert f"rows.csv: {message}" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize(
    ("content", "line", "byte"),
    [
        (f"{HEADER}\n{GOOD}\n{GOOD}\xb5\n".encode("latin-1"), 3, "0xb5"),
        (f"\ufeff{HEADER}\r\n".encode() + GOOD.encode() + b"\xff", 2, "0xff"),
        (HEADER.encode("utf-16"), 1, "0xff"),
    ],
)
def test_a_byte_that_is_not_utf8_is_refused_with_its_line(
    content: bytes, line: int, byte: str, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "rows.csv").write_bytes(content)
    outcome = cli("validate", "rows.csv")
    said = f"gpusim: rows.csv: line {line}: expected UTF-8, found the byte {byte}\n"
    assert (outcome.code, outcome.out, outcome.err) == (2, "", said)


def test_a_quote_is_missed_where_its_line_begins(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", GOOD, "", GOOD.replace("decode", '"decode'), GOOD, GOOD)
    with pytest.raises(SpecError, match="line 4: expected CSV with commas"):
        read_measured(path)


def test_blanks_around_names_and_values_do_not_matter(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.csv", GOOD.replace(",", " , "), header=HEADER.replace(",", ", "))
    assert read_measured(path) == read_measured(_write(tmp_path / "b.csv", GOOD))


@pytest.mark.parametrize("text", ["", f"{HEADER}\n", f"{HEADER}\n\n"])
def test_a_file_without_rows_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError, match="found"):
        read_measured(tmp_path / "rows.csv")


def test_empty_cells_and_whole_numbers_with_a_point_are_read(tmp_path: Path) -> None:
    row = GOOD.replace("true,,64", "true,1024.0,") + ",64"
    (read,) = read_measured(_write(tmp_path / "a.csv", row, header=f"{HEADER},v_head_dim"))
    problem = read.attention
    assert (problem.window, problem.page_size, problem.v_head_dim) == (1024, None, 64)
    assert problem.kv_dtype is None


def test_statistics_are_those_by_hand() -> None:
    found = errors([110.0, 90.0, 300.0, 400.0], [100.0, 100.0, 200.0, 400.0])
    assert found == {
        "rows": 4,
        "median_ape": pytest.approx(0.10),
        "mean_ape": pytest.approx((0.1 + 0.1 + 0.5 + 0) / 4),
        "p90_ape": pytest.approx(0.1 + 0.7 * 0.4),
        "bias": pytest.approx(0.05),
        "spearman": pytest.approx(4.5 / (5 * 4.5) ** 0.5),
    }


def test_rank_correlation_shares_the_ranks_of_ties() -> None:
    assert ranks([3.0, 1.0, 3.0, 2.0]).tolist() == [3.5, 1.0, 3.5, 2.0]
    assert spearman([1, 2, 3, 4], [10, 20, 20, 30]) == pytest.approx(4.5 / (5 * 4.5) ** 0.5)
    assert spearman([1, 2, 3], [9, 4, 1]) == pytest.approx(-1)
    assert spearman([1, 1], [1, 2]) is None
    assert errors([], [])["median_ape"] is None


def test_json_has_the_totals_groups_and_refused_rows(tmp_path: Path, cli: Cli) -> None:
    refused = GOOD.replace(",128,bf16", ",512,bf16")
    own = GOOD.replace("vllm_flash_attn_2", "gpusim_triton_flash2")
    _write(tmp_path / "rows.csv", *ANCHORS, refused, refused, own)
    arguments = ("validate", "rows.csv", "--engine", "analytic", "--format", "json")
    outcome = cli(*arguments, "--output", "predictions.csv")
    assert (outcome.code, outcome.err) == (0, "")
    found = json.loads(outcome.out, parse_constant=pytest.fail)
    assert {"rows", "median_ape", "mean_ape", "p90_ape", "bias", "spearman"} <= found.keys()
    assert (found["rows"], found["above_50us"]["rows"]) == (4, 3)
    assert sum(group["rows"] for group in found["groups"]) == 4
    assert found["groups"][0]["kernel"] == "sglang_flash_attn_3"
    assert [out["rows"] for out in found["left_out"]] == [2, 1]
    assert {out["of"] for out in found["left_out"]} == {"rows tried"}
    assert "head_dim: expected" in found["left_out"][0]["reason"]
    with (tmp_path / "predictions.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["measured_us"] for row in rows] == ["101.7", "1513.6", "69.7", "33.8"]
    assert list(rows[0])[-3:] == ["predicted_us", "roofline_us", "bound"]
    assert set(HEADER.split(",")) < rows[0].keys()


def test_table_and_csv_say_what_was_left_out(tmp_path: Path, cli: Cli) -> None:
    _write(tmp_path / "rows.csv", GOOD, GOOD.replace(",128,bf16", ",512,bf16"))
    drawn = cli("validate", "rows.csv")
    assert "Left out" in drawn.out
    assert "head_dim: expected" in drawn.out
    listed = cli("validate", "rows.csv", "--format", "csv")
    lines = list(csv.DictReader(listed.out.splitlines()))
    assert [line["rows"] for line in lines] == ["1", "1", "1"]
    assert "left out: 1 of rows tried" in listed.err


def test_only_refused_rows_are_a_mistake(tmp_path: Path, cli: Cli) -> None:
    _write(tmp_path / "rows.csv", GOOD.replace(",128,bf16", ",512,bf16"))
    outcome = cli("validate", "rows.csv")
    assert (outcome.code, outcome.out) == (2, "")
    assert "expected a row that can be predicted, found none" in outcome.err


def test_a_sample_is_drawn_by_its_seed_and_workers_keep_the_order(tmp_path: Path) -> None:
    rows = [GOOD.replace("4096", str(length)) for length in range(4096, 4096 + 70)]
    source = str(_write(tmp_path / "rows.csv", *rows))

    def drawn(**options: Any) -> list[float]:
        found = validate([source], engine="analytic", **options)
        return [p.row.attention.sequences[0].kv_len for p in found.predictions]

    assert drawn(workers=2) == list(range(4096, 4096 + 70))
    first = drawn(sample=9, seed=1, workers=1)
    assert first == drawn(sample=9, seed=1, workers=1) == sorted(first)
    assert (len(first), first == drawn(sample=9, seed=2, workers=1)) == (9, False)


def test_the_help_tells_what_the_command_does(cli: Cli, tmp_path: Path) -> None:
    text = " ".join(cli("validate", "--help").out.split())
    assert "Without a source, the message of the error names all datasets." in text
    alone = cli("validate")
    assert (alone.code, alone.out, alone.err.count("\n")) == (2, "", 1)
    assert "known: published, triton:GPU" in alone.err
    assert "The statistics always go to standard output" in text
    assert "--output FILE Also write each row with its prediction to this file, as CSV." in text
    assert "instead of standard output" not in text
    assert "instead of standard output" in " ".join(cli("compare", "--help").out.split())
    _write(tmp_path / "rows.csv", GOOD)
    command = ("validate", "rows.csv", "--engine", "analytic")
    assert cli(*command, "--output", "out.csv").out == cli(*command).out != ""
    assert (tmp_path / "out.csv").read_text(encoding="utf-8").count("\n") == 2


@pytest.mark.parametrize("source", ["nothing.csv", "nothing"])
def test_a_missing_source_is_a_mistake(source: str, cli: Cli) -> None:
    outcome = cli("validate", source)
    assert (outcome.code, outcome.out) == (2, "")


def test_without_the_packages_one_line_says_how_to_install_them(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aiconfigurator, "find_spec", lambda _: None)
    outcome = cli("validate", "aiconfigurator:a100_sxm/vllm")
    assert (outcome.code, outcome.out) == (2, "")
    assert "expected the packages aiconfigurator-core and pyarrow" in outcome.err
    assert "pip install 'gpusim[measurements]'" in outcome.err
    assert outcome.err.count("\n") == 1


def test_the_median_error_follows_measured_time() -> None:
    measured = [10.0, 11.0, 12.0, 1000.0, 1000.0, 1000.0, 90000.0]
    predicted = [11.0, 11.0, 18.0, 500.0, 800.0, 900.0, 1.0]
    (short, first), (long, second) = median_errors(predicted, measured)
    assert 10 < short < 18 < 1000 < long < 1800
    assert [first, second] == pytest.approx([0.1, -0.2])


RAW: dict[str, Any] = {
    "framework": "VLLM",
    "version": "0.14.0",
    "kernel_source": "vllm_flash_attn",
    "batch_size": 4,
    "isl": 1,
    "num_heads": 8,
    "num_key_value_heads": 0,
    "head_dim": 128,
    "beam_width": 1,
    "attn_dtype": "bfloat16",
    "kv_cache_dtype": "bfloat16",
    "step": 4095,
    "latency": 0.25,
}


@pytest.fixture
def tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write a tiny table of one system and framework, and let it be found."""
    pytest.importorskip("pyarrow", reason="needs the extra 'measurements'")
    import pyarrow as pa  # type: ignore[import-not-found,import-untyped,unused-ignore]
    import pyarrow.parquet as pq  # type: ignore[import-not-found,import-untyped,unused-ignore]

    monkeypatch.setattr(aiconfigurator, "data_folder", lambda: tmp_path)

    def write(folder: str, phase: str, *changes: dict[str, Any]) -> None:
        path = tmp_path / folder
        path.mkdir(parents=True, exist_ok=True)
        rows = pa.Table.from_pylist([RAW | change for change in changes])
        pq.write_table(rows, path / f"{phase}_attention_perf.parquet")

    return write


def test_published_tables_become_measured_rows(tables: Callable[..., None]) -> None:
    tables("a100_sxm/attention/vllm/0.9.1", "generation", {"latency": 9.0})
    tables("a100_sxm/attention/vllm/0.14.0", "generation", {}, {"beam_width": 4}, {"latency": None})
    unknown = {"kernel_source": "vllm_flash_attn_fa4"}
    context = {"isl": 512, "step": 0, "num_key_value_heads": 2, "window_size": 128}
    tables("a100_sxm/attention/vllm/0.14.0", "context", context, unknown | {"window_size": 0})
    rows, left_out = aiconfigurator.read_dataset("aiconfigurator:a100_sxm/vllm")
    prefill, decode = rows
    assert [(r.gpu, r.kernel, r.l2) for r in rows] == [
        ("a100_sxm_80gb", "vllm_0_14_flash_attn_2", "warm")
    ] * 2
    assert (prefill.phase, decode.phase) == ("prefill", "decode")
    one = decode.attention.sequences[0]
    assert (one.count, one.q_len, one.kv_len) == (4, 1, 4096)
    assert (decode.attention.kv_heads, decode.attention.window) == (8, None)
    assert decode.measured_us == 250
    prompt = prefill.attention.sequences[0]
    assert (prompt.q_len, prompt.kv_len, prefill.attention.window) == (512, 512, 128)
    assert left_out == {
        "kernel not modelled: VLLM vllm_flash_attn_fa4": 1,
        "beam search: beam_width 4": 1,
        "no latency": 1,
    }


def test_an_unknown_dataset_names_the_nearest(tables: Callable[..., None], cli: Cli) -> None:
    tables("a100_sxm/attention/vllm/0.14.0", "generation", {})
    outcome = cli("validate", "aiconfigurator:a100_sxm/vlm")
    assert outcome.code == 2
    assert "did you mean 'aiconfigurator:a100_sxm/vllm'?" in outcome.err


def test_long_benchmarks_run_into_the_power_limit(tmp_path: Path) -> None:
    """Six calls of 60 ms have passed the L40S's 72 ms before the first timed one begins."""
    row = "l40s,flash_attn_2,prefill,4,32768,32768,32,8,128,bf16,,true,,,warm,300000,test"
    (short,) = read_measured(_write(tmp_path / "a.csv", row))
    long = replace(short, calls=(6, 12))
    free, limited = (predict_row(r, "analytic") for r in (short, long))
    assert isinstance(free, Prediction)
    assert isinstance(limited, Prediction)
    clock = load_gpu("l40s").clock
    ratio = clock.benchmark_mhz / clock.steady_mhz
    assert limited.predicted_us / free.predicted_us == pytest.approx(ratio, rel=0.02)
