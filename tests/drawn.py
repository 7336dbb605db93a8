"""Figures as they are when they are saved, for tests that look at what is drawn."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest


def drawn(monkeypatch: pytest.MonkeyPatch, draw: Callable[[], bytes]) -> Any:
    """The matplotlib figure that `draw` saves."""
    from matplotlib.figure import Figure

    found: list[Any] = []
    save = Figure.savefig

    def watched(figure: Figure, *args: Any, **options: Any) -> None:
        save(figure, *args, **options)
        found.append(figure)

    with monkeypatch.context() as patch:
        patch.setattr(Figure, "savefig", watched)
        draw()
    (figure,) = found
    figure.draw_without_rendering()  # all extents at one resolution
    return figure


def texts(figure: Any) -> Iterator[Any]:
    """Texts that are seen: not those of ticks beyond the ends of their axis."""
    from matplotlib.text import Text

    hidden = {
        id(label)
        for axes in figure.findobj(lambda artist: hasattr(artist, "xaxis"))
        for axis in (axes.xaxis, axes.yaxis)
        for tick in (*axis.get_major_ticks(), *axis.get_minor_ticks())
        for label in (tick.label1, tick.label2)
        if not min(axis.get_view_interval()) <= tick.get_loc() <= max(axis.get_view_interval())
    }
    for text in figure.findobj(Text):
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden:
            yield text


def cut_off(figure: Any) -> list[str]:
    """Texts that reach beyond the figure's edges by more than a pixel."""
    width, height = figure.bbox.width, figure.bbox.height
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    return [
        name
        for name, box in boxes
        if box.x0 < -1 or box.y0 < -1 or box.x1 > width + 1 or box.y1 > height + 1
    ]


def overlapping(figure: Any) -> list[tuple[str, str]]:
    """Pairs of level texts that lie on one another by more than two pixels (of 100 an inch)."""
    from matplotlib.text import Text

    level = [text for text in texts(figure) if text.get_rotation() in (0, 90)]
    boxes = [(text.get_text(), Text.get_window_extent(text)) for text in level]  # without arrows
    pairs = []
    for i, (name, a) in enumerate(boxes):
        for other, b in boxes[i + 1 :]:
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            along = min(a.y1, b.y1) - max(a.y0, b.y0)
            if across > 2 and along > 2:
                pairs.append((name, other))
    return pairs
