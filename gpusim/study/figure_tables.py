"""Which table is behind which figure."""

from collections.abc import Callable, Mapping, Sequence

from gpusim.errors import SpecError
from gpusim.study.predict import Case
from gpusim.study.roofline import roofline
from gpusim.study.run_tables import Rows, breakdown, traffic_by_level
from gpusim.study.sensitivity import sensitivity
from gpusim.study.timeline import occupancy_over_time, timeline


def overview(cases: Sequence[Case]) -> Rows:
    """The rows of breakdown, roofline and traffic, each with the figure's name in `figure`."""
    parts = {name: TABLES[name](cases) for name in ("breakdown", "roofline", "traffic")}
    return [{"figure": name} | row for name, rows in parts.items() for row in rows]


#: By the figure's name, the table that it is drawn from.
TABLES: Mapping[str, Callable[[Sequence[Case]], Rows]] = {
    "overview": overview,
    "breakdown": lambda cases: breakdown([case.result for case in cases]),
    "roofline": roofline,
    "traffic": lambda cases: traffic_by_level([case.result for case in cases]),
    "timeline": timeline,
    "occupancy": occupancy_over_time,
    "sensitivity": sensitivity,
}
#: Those that need every work item's span, and so a traced run of `sim`.
OF_SPANS = frozenset({"timeline", "occupancy"})


def check_traced(engine: str, what: str) -> None:
    """Refuse what needs spans of an engine that has none.

    Raises:
        SpecError: if the engine is not 'sim'.
    """
    if engine != "sim":
        raise SpecError(
            f"{what}: expected --engine sim, which follows every work item, found {engine}"
        )
