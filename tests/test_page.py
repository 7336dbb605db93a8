"""Pages: what they say, that they are whole by themselves, and that no name in them is markup."""

import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path

import pytest
from conftest import Cli

from gpusim.cli.page_inputs import command_line
from gpusim.report.glossary import TERMS
from gpusim.report.page import render_page
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_table import Table
from gpusim.report.simulate_page import simulate_page
from gpusim.schedules.step import Pipe
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.load_model import load_any_workload
from gpusim.spec.source_keys import source_keys
from gpusim.spec.workload_text import workload_text

HOSTILE = "<script>alert(1)</script> </script><!-- \"'& ünï日本 \u202e ]]>"
GPU_NAME = "<img src=x onerror=alert(2)>"
PROFILE = f"extends: l40s\nname: {GPU_NAME!r}\ndescription: '</title><b>bold'\n"
WORKLOAD = f"""\
name: {json.dumps(HOSTILE)}
gpus: [l40s, mine.yaml]
schedules: [flash2, flash2_split_kv]
attention: {{q_heads: 8, kv_heads: 8, head_dim: 64}}
sequences: [{{q_len: 1, kv_len: 4096}}]
"""
ROWS = """gpu,kernel,phase,batch,q_len,kv_len,q_heads,kv_heads,head_dim,dtype,kv_dtype,causal,\
window,page_size,l2,measured_us,source
l40s,flash_attn_2,decode,1,1,4096,8,8,128,bf16,,true,,,warm,80.9,<i>a page</i>
l40s,flash_attn_2,prefill,1,4096,4096,8,8,128,bf16,,true,,,warm,400,a page
"""
MANY = ("--gpu=a100_sxm_80gb", "--gpu=h100_sxm", "--gpu=h100_pcie", "--gpu=h200_sxm", "--gpu=l40s")
COMMANDS = {
    "simulate": ("simulate", "work.yaml"),
    "two workloads": ("simulate", "work.yaml", "llama3_8b_decode", "--gpu", "h100_sxm"),
    "compare": ("compare", "work.yaml"),
    "many comparisons": ("compare", "llama3_8b_decode", "work.yaml", *MANY, "--schedule", "flash2"),
    "validate": ("validate", "rows.csv"),
}
COMMAND = pytest.mark.parametrize("arguments", COMMANDS.values(), ids=COMMANDS.keys())
FILES = {"mine.yaml": PROFILE, "work.yaml": WORKLOAD, "rows.csv": ROWS}
ANALYTIC = ("--engine", "analytic")
#: Elements that have no end.
VOID = {"meta", "link", "br", "img", "hr", "input"}


class Reader(HTMLParser):
    """What a page holds: elements, attributes, text that is read, and whether tags balance."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = self.numbers = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> ends nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.numbers += data
        elif "style" not in self.open:
            self.text += data


@pytest.fixture(autouse=True)
def _files(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")


#: Pages that were made, by their arguments.
PAGES: dict[tuple[str, ...], str] = {}


def page_of(cli: Cli, tmp_path: Path, arguments: Sequence[str]) -> str:
    """The page of a command, made once."""
    if tuple(arguments) not in PAGES:
        PAGES[tuple(arguments)] = _new_page(cli, tmp_path, arguments)
    return PAGES[tuple(arguments)]


def _new_page(cli: Cli, tmp_path: Path, arguments: Sequence[str]) -> str:
    printed = cli(*arguments, *ANALYTIC)
    assert cli(*arguments, *ANALYTIC, "--report", "out.html") == printed
    assert printed.code == 0
    assert {path.name for path in tmp_path.iterdir()} == {*FILES, "out.html"}
    return (tmp_path / "out.html").read_text(encoding="utf-8")


@COMMAND
def test_a_page_is_well_formed_and_loads_nothing(
    arguments: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    page = Reader(page_of(cli, tmp_path, arguments))
    assert page.open == []
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    scripts = [attributes for tag, attributes in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "numbers"}]
    for tag, attributes in page.elements:
        assert tag not in {"iframe", "object", "embed", "img", "base", "form", "animate"}
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in {"src", "href", "xlink:href", "srcset", "action"}:
                assert (value or "").startswith(("#", "data:")), (tag, name, value)
                target = (value or "").removeprefix("#")
                assert (value or "").startswith("data:") or target in ids


@COMMAND
def test_styles_and_figures_load_nothing(
    arguments: tuple[str, ...], cli: Cli, tmp_path: Path
) -> None:
    text = page_of(cli, tmp_path, arguments)
    before = text.split('<script type="application/json"')[0]
    assert "@import" not in before
    assert all(url.startswith("#") for url in re.findall(r"url\(['\"]?([^)]*)\)", before))


@pytest.mark.parametrize("command", ["simulate", "compare", "validate"])
def test_the_page_holds_the_json_of_the_command(command: str, cli: Cli, tmp_path: Path) -> None:
    page = Reader(page_of(cli, tmp_path, COMMANDS[command]))
    printed = cli(*COMMANDS[command], *ANALYTIC, "--format", "json").out
    held = json.loads(page.numbers)
    assert held["results"] == json.loads(printed)
    assert held["figures"]
    profile = held["inputs"]["profiles"]["l40s"]
    assert profile == json.loads(cli("hardware", "l40s", "--format", "json").out)


def test_an_uncalibrated_run_shows_the_numbers_that_it_used(cli: Cli, tmp_path: Path) -> None:
    text = page_of(cli, tmp_path, (*COMMANDS["validate"], "--uncalibrated"))
    inputs = json.loads(Reader(text).numbers)["inputs"]
    assert inputs["command"] == "gpusim validate rows.csv --engine analytic --uncalibrated"
    assert inputs["profiles"] == {"l40s": load_gpu("l40s").uncalibrated().numbers()}
    assert "calibrated" not in {row["kind"] for row in inputs["profiles"]["l40s"]}


@pytest.mark.parametrize("command", ["simulate", "two workloads", "compare"])
def test_names_from_files_are_text(command: str, cli: Cli, tmp_path: Path) -> None:
    text = page_of(cli, tmp_path, COMMANDS[command])
    page = Reader(text)
    assert "<script>alert" not in text
    assert "<img" not in text
    assert text.count("</script>") == 1
    assert "\u202e" not in text.split('<script type="application/json"')[0]
    assert HOSTILE.replace("\u202e", " ") in page.text
    assert json.loads(page.numbers)["results"][0]["workload"].startswith("<script>alert(1)")


def test_names_of_profiles_and_sources_are_text(cli: Cli, tmp_path: Path) -> None:
    page = Reader(page_of(cli, tmp_path, COMMANDS["simulate"]))
    assert GPU_NAME in page.text
    assert "</title><b>bold" in page.text
    assert "<i>a page</i>" in Reader(page_of(cli, tmp_path, COMMANDS["validate"])).text


@pytest.mark.parametrize("command", ["compare", "validate"])
def test_the_same_input_makes_the_same_bytes(command: str, cli: Cli, tmp_path: Path) -> None:
    first = page_of(cli, tmp_path, COMMANDS[command])
    assert _new_page(cli, tmp_path, COMMANDS[command]) == first


def test_the_answer_comes_first_and_names_the_fastest(cli: Cli, tmp_path: Path) -> None:
    arguments = ("simulate", "llama3_8b_decode")
    page = Reader(page_of(cli, tmp_path, arguments))
    rows = json.loads(page.numbers)["results"]
    best = min(rows, key=lambda row: float(row["time_us"]))
    time = f"{best['time_us']:.0f}\N{NO-BREAK SPACE}\N{MICRO SIGN}s"
    answer = f"{load_gpu(best['gpu']).description} is the fastest, with {best['schedule']}: {time}."
    assert page.text.index(answer) < page.text.index("The fastest exact one is marked")
    assert page.text.index("To run this again") < page.text.rindex("Sources of the numbers")


def test_every_row_of_the_results_stands_in_the_table(cli: Cli, tmp_path: Path) -> None:
    page = Reader(page_of(cli, tmp_path, ("compare", "llama3_8b_decode", "--gpu", "h100_sxm")))
    rows = json.loads(page.numbers)["results"]
    words_ = " ".join(page.text.split())
    for row in rows:
        assert row["schedule"] in words_
        assert f"{row['ratio']:.2f}" in words_
        assert f"{row['time_us']:,.0f}" in words_
        assert row["why"] in words_
    assert "flash3_fp8 (lower precision)" in words_


def test_the_command_on_the_page_gives_the_same_page(cli: Cli, tmp_path: Path) -> None:
    arguments = ("compare", "work.yaml", "--gpu", "l40s", "--schedule", "flash2", "--schedule")
    first = page_of(cli, tmp_path, (*arguments, "lean", "--baseline", "lean"))
    command = json.loads(Reader(first).numbers)["inputs"]["command"]
    assert command == (
        "gpusim compare work.yaml --gpu l40s --schedule flash2 --schedule lean"
        " --baseline lean --engine analytic"
    )
    again = cli(*command.split()[1:], "--report", "again.html")
    assert again.code == 0
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == first


def test_a_step_of_a_model_shows_operators_and_what_it_assumes(cli: Cli) -> None:
    """A row as of a model: kernels that run many times, shares by operator."""
    printed = cli("simulate", "work.yaml", "--gpu", "l40s", *ANALYTIC, "--format", "json").out
    row = json.loads(printed)[0]
    launch = row["launches"][0] | {"calls": 32, "operator": "attention", "time_us": 10.0}
    row |= {"breakdown": {"gemm": 0.6, "attention": 0.4}, "bound": "gemm", "launches": [launch]}
    row |= {"model": {"weight_bytes": 1}, "assumptions": ["weights are cold"]}
    notes = ["x assumes: weights are cold", "it does not fit"]
    page = simulate_page([row], Inputs(command="c"), notes=notes)
    html = render_page(page).decode()
    assert page.because[0].startswith("The matrix products of the layers take most of the time (60")
    assert page.because[-1] == "It does not fit."
    assert page.assumptions[-1] == "Weights are cold."
    assert {"gemm", "attention"} <= page.glossary.keys()
    assert '<td class="n">32</td><td class="n">320</td>' in html  # calls, and the time of all
    (summary,) = page.evidence[0].blocks
    assert isinstance(summary, Table)
    assert "waves" not in [column.name for column in summary.columns]


def test_every_bound_and_cause_is_a_term() -> None:
    causes = {"hbm", "l2", "sync", "load_latency", "cta_latency", "fix_up", "unfilled", "tail"}
    assert causes | {"launch"} | {pipe.value for pipe in Pipe} <= TERMS.keys()


@pytest.mark.parametrize("name", shipped("workloads"))
def test_the_workload_on_a_page_is_the_one_that_ran(name: str, tmp_path: Path) -> None:
    workload = load_any_workload(name)
    (tmp_path / "copy.yaml").write_text(workload_text(workload), encoding="utf-8")
    assert load_any_workload(tmp_path / "copy.yaml") == workload


def test_every_key_of_a_source_is_explained() -> None:
    for name in shipped("hardware"):
        gpu = load_gpu(name)
        sources = " ".join(origin.source for origin in gpu.provenance.values())
        assert set(re.findall(r"\[(\w+)\]", sources)) == set(source_keys(gpu))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.htm", "--report: expected a file with the suffix .html, found out.htm"),
        ("out", "--report: expected a file with the suffix .html"),
        ("no/out.html", "--report: expected an existing folder, found no"),
    ],
)
@pytest.mark.parametrize("command", ["simulate", "compare", "validate"])
def test_a_bad_file_is_refused(command: str, name: str, message: str, cli: Cli) -> None:
    outcome = cli(*COMMANDS[command], "--report", name)
    assert (outcome.code, outcome.out, outcome.err.count("\n")) == (2, "", 1)
    assert message in outcome.err


@pytest.mark.parametrize("command", ["simulate", "compare", "validate"])
def test_a_page_replaces_neither_input_nor_output(command: str, cli: Cli, tmp_path: Path) -> None:
    name, source, *_ = COMMANDS[command]
    (tmp_path / "in.html").symlink_to(tmp_path / source)
    before = (tmp_path / source).read_bytes()
    outcome = cli(name, source, "--report", "in.html")
    assert (outcome.code, outcome.out) == (2, "")
    assert "--report: expected another file than the input" in outcome.err
    both = cli(name, source, "--report", "x.html", "--output", "x.html")
    assert (both.code, (tmp_path / "x.html").exists()) == (2, False)
    assert (tmp_path / source).read_bytes() == before


def test_a_failure_leaves_the_old_page(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.html").write_text("old")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    outcome = cli(*COMMANDS["simulate"], "--report", "out.html")
    assert outcome.code == 2
    assert "out.html: expected to write to it, found: No space left on device" in outcome.err
    assert (tmp_path / "out.html").read_text() == "old"


def test_an_argument_with_spaces_is_quoted_on_the_page() -> None:
    import click

    from gpusim.cli.simulate import simulate

    with click.Context(simulate, info_name="simulate") as context:
        context.params = {"workloads": ("my file.yaml",), "engine": "sim", "report": Path("x")}
        assert command_line(context) == "gpusim simulate 'my file.yaml'"
