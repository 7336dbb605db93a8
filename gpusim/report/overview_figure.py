"""The figure that answers first: where the time goes, how near the ceilings, what is moved."""

from typing import Any

from gpusim.report.breakdown_figure import breakdown_height, draw_breakdown
from gpusim.report.figures import render_titled
from gpusim.report.panels import Rows
from gpusim.report.roofline_figure import draw_roofline, roofline_height
from gpusim.report.traffic_figure import draw_traffic, traffic_height

#: From top to bottom: the rows' `figure`, what is written above, how high it is, how it is drawn.
PARTS = (
    ("breakdown", "Where the time goes", breakdown_height, draw_breakdown),
    ("roofline", "Roofline", roofline_height, draw_roofline),
    ("traffic", "Bytes moved, by memory level", traffic_height, draw_traffic),
)


def overview_figure(rows: Rows, *, title: str, form: str) -> bytes:
    """Breakdown, roofline and traffic, one below the other.

    Args:
        rows: of these figures together, each with the figure's name in `figure`.
        title: of the figure.
        form: 'png', 'svg' or 'pdf'.
    """
    parts = [
        ([row for row in rows if row["figure"] == name], heading, height, draw)
        for name, heading, height, draw in PARTS
    ]
    parts = [part for part in parts if part[0]]
    heights = [height(part) for part, _, height, _ in parts]

    def fill(figure: Any) -> None:
        boxes = figure.subfigures(len(parts), 1, height_ratios=heights, squeeze=False)[:, 0]
        for box, (part, heading, _, draw) in zip(boxes, parts, strict=True):
            box.suptitle(heading, fontsize=8, x=0.01, ha="left", style="italic")
            draw(box, part)

    return render_titled(fill, title=title, height=sum(heights) + 0.3, form=form)
