"""Parts of a page: tables whose numbers line up, figures with names of their own, cards."""

import json
from pathlib import Path
from typing import Any

import pytest
from test_page import Reader

from gpusim.report import page as page_module
from gpusim.report.page import Card, Page, Section, render_page
from gpusim.report.page_figure import Figure, inline
from gpusim.report.page_inputs import Inputs
from gpusim.report.page_table import Table, numbers, sizes, times, words


def _rendered(**fields: Any) -> str:
    needed: dict[str, Any] = {
        "kind": "k",
        "title": "t",
        "answer": "a",
        "inputs": Inputs(command="c"),
    }
    return render_page(Page(**(needed | {"results": []} | fields))).decode()


def test_a_page_of_its_own_needs_no_more_than_an_answer() -> None:
    page = Reader(_rendered(answer="It is <so>."))
    assert "It is <so>." in page.text
    assert json.loads(page.numbers)["results"] == []


def test_numbers_that_json_does_not_have_are_refused() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        _rendered(results=[float("nan")])


def test_rows_of_a_group_stand_under_its_name_once() -> None:
    table = Table(caption="c", columns=(words("n", "abc"),), groups=("one", "one", "two"))
    assert [group for group, _ in table.rows] == ["one", "", "two"]
    page = _rendered(evidence=(Section(title="s", blocks=(table,)),))
    assert page.count('scope="rowgroup"') == 2


def test_a_columns_numbers_share_unit_and_places() -> None:
    assert times("t", [247.3, 5190.2]).cells == ("247", "5,190")
    assert (times("t", [84543.7, 1e6]).unit, times("t", [84543.7, 1e6]).cells) == (
        "ms",
        ("84.5", "1,000.0"),
    )
    assert (sizes("b", [1.07e9, 266e6]).unit, sizes("b", [1.07e9, 266e6]).cells) == (
        "GB",
        ("1.070", "0.266"),
    )
    assert numbers("n", [1, 20000]).cells == ("1", "20,000")
    assert numbers("n", [None, 0.0, 0.25]).cells == ("", "0.000", "0.250")


def test_columns_of_unlike_length_are_a_mistake() -> None:
    table = Table(caption="c", columns=(words("a", "xy"), words("b", "x")))
    with pytest.raises(ValueError, match="shorter"):
        _rendered(evidence=(Section(title="s", blocks=(table,)),))


def test_two_figures_share_no_name() -> None:
    svg = (
        b'<?xml version="1.0"?>\n<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://x">\n'
        b'<svg width="72pt" height="36pt" viewBox="0 0 72 36" xmlns="http://www.w3.org/2000/svg"'
        b' xmlns:xlink="http://www.w3.org/1999/xlink"><metadata><a>http://y</a></metadata>'
        b'<defs><clipPath id="p1"><path id="g"/></clipPath></defs>'
        b'<use xlink:href="#g" clip-path="url(#p1)"/></svg>'
    )
    figures = tuple(Figure(name=n, svg=svg, caption="c", alt="<a>") for n in ("one", "two"))
    text = _rendered(evidence=(Section(title="s", blocks=figures),))
    for name in ("one", "two"):
        assert f'<use xlink:href="#{name}-2" clip-path="url(#{name}-1)"/>' in text
    assert "http" not in text
    assert "--width: 72.0" in text
    assert Reader(text).open == []


def test_what_is_no_drawing_is_refused() -> None:
    with pytest.raises(ValueError, match="expected an SVG"):
        inline("<html>", "f")


def test_cards_say_value_and_unit() -> None:
    text = _rendered(cards=(Card(label="Time", value="381", unit="us", note="n"),))
    assert '<dd class="value">381 <span class="unit">us</span></dd>' in text


def test_templates_are_shipped_beside_the_code() -> None:
    folder = Path(page_module.__file__).parent / "templates"
    assert {path.name for path in folder.iterdir()} == {"page.html", "blocks.html", "style.css"}
