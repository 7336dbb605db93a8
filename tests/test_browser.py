"""Pages in a real browser: no complaint, nothing asked of a network, nothing wider than the window.

Skipped where no Chromium is installed (Debian: `apt-get install chromium`).
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Tab, browser, program
from conftest import Cli
from test_page import ANALYTIC, COMMANDS, FILES, page_of
from test_plan_page import page_of_a_plan
from test_sweep_page import FILE as SWEEP

pytestmark = pytest.mark.skipif(program() is None, reason="no Chromium is installed")

WIDTHS = (360, 1280)
LONG = "n" * 200
#: A name as long as there may be, without a place to break it.
WIDE = f"""\
name: {LONG}
gpus: [mine.yaml]
schedules: [flash2]
attention: {{q_heads: 8, kv_heads: 8, head_dim: 64}}
sequences: [{{q_len: 1, kv_len: 4096}}]
"""
PAGES = (
    "simulate",
    "two workloads",
    "compare",
    "validate",
    "long names",
    "plan",
    "no plan",
    "sweep",
)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    """One browser for all tests."""
    with browser(tmp_path_factory.mktemp("browser")) as tab:
        yield tab


def _page(name: str, cli: Cli, folder: Path) -> Path:
    out = folder / "out.html"
    if "plan" in name:
        out.write_bytes(page_of_a_plan(met=name == "plan"))
        return out
    if name == "sweep":
        swept = SWEEP.replace("[l40s, ", f"[{LONG}.yaml, l40s, ")
        (folder / "sweep.yaml").write_text(swept, encoding="utf-8")
        (folder / f"{LONG}.yaml").write_text("extends: l40s\nname: wide\n")
        rows = ("--output", "rows.csv", "--workers", "1")
        assert cli("sweep", "sweep.yaml", *rows, "--report", out.name).code == 0
        return out
    for file, text in FILES.items():
        (folder / file).write_text(text, encoding="utf-8")
    if name == "long names":
        (folder / "work.yaml").write_text(WIDE)
        (folder / "mine.yaml").write_text(f"extends: l40s\nname: {LONG}\ndescription: {LONG}\n")
        assert cli("compare", "work.yaml", *ANALYTIC, "--report", out.name).code == 0
    else:
        out.write_text(page_of(cli, folder, COMMANDS[name]), encoding="utf-8")
    return out


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_every_window_without_a_complaint(
    name: str, tab: Tab, cli: Cli, tmp_path: Path
) -> None:
    page = _page(name, cli, tmp_path)
    for width in WIDTHS:
        for dark in (False, True):
            tab.open(page, width=width, dark=dark)
            where = f"{name}, {width} px, {'dark' if dark else 'light'}"
            assert tab.ask("document.compatMode") == "CSS1Compat", where
            assert tab.ask("document.documentElement.scrollWidth <= innerWidth"), where
            assert tab.ask("innerWidth") == width, where
            assert _is_dark(tab) == dark, where
            tab.ask("document.querySelectorAll('details').forEach(d => d.open = true)")
            assert tab.ask("document.documentElement.scrollWidth <= innerWidth"), where
            assert tab.complaints == [], where
            assert [r for r in tab.requests if not r.startswith("data:")] == [page.as_uri()], where


@pytest.mark.parametrize("name", ["compare", "plan"])
def test_a_page_prints_with_what_is_folded(name: str, tab: Tab, cli: Cli, tmp_path: Path) -> None:
    page = _page(name, cli, tmp_path)
    tab.open(page, width=1280, dark=True)
    assert not tab.ask("document.querySelector('details').open")
    assert tab.pdf().startswith(b"%PDF-")
    tab.prefer(dark=True, media="print")
    assert not _is_dark(tab)
    heights = "[...document.querySelectorAll('details table')].map(t => t.offsetHeight)"
    assert all(tab.ask(heights))
    assert tab.ask("getComputedStyle(document.querySelector('nav')).display") == "none"


def test_the_json_can_be_read_in_the_page(tab: Tab, cli: Cli, tmp_path: Path) -> None:
    tab.open(_page("simulate", cli, tmp_path), width=1280, dark=False)
    numbers = "JSON.parse(document.getElementById('numbers').textContent)"
    assert tab.ask(f"{numbers}.results.length") == 4
    assert tab.ask("document.scripts.length") == 1


def test_what_a_browser_complains_of_is_seen(tab: Tab, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text("<body style='width: 2000px'><script>console.error('x'); y()</script>")
    tab.open(page, width=360, dark=False)
    assert len(tab.complaints) == 2
    assert not tab.ask("document.documentElement.scrollWidth <= innerWidth")


def _is_dark(tab: Tab) -> bool:
    """Whether the text is lighter than the page."""
    script = "getComputedStyle(document.body)['%s'].match(/[0-9]+/g).map(Number)[0]"
    return bool(tab.ask(script % "color") > tab.ask(script % "background-color"))
