"""What each effect of the model earns: rows of the fit sets without one at a time."""

from collections.abc import Sequence
from functools import partial

from gpusim.study.ablation import EFFECTS
from gpusim.study.accuracy import errors
from gpusim.study.measured import MeasuredRow
from gpusim.study.predict_row import Prediction, predict_row
from gpusim.study.validate import outcomes
from validation.tables import markdown, percent

#: Rows by GPU and phase.
Groups = dict[tuple[str, str], list[Prediction]]

TEXT = """\
What each effect earns: the same rows of the fit sets, by `analytic`, with an effect switched off
(`gpusim validate --without EFFECT`; `gpusim/study/ablation.py` says what is then left). Nothing is
fitted anew. Median and 90th percentile of the error, in per cent:
"""


def ablation_table(rows: Sequence[MeasuredRow], *, workers: int) -> str:
    """A line with everything and one without each effect; a column for each GPU and phase."""
    choices: dict[str, tuple[str, ...]] = {"everything": ()}
    choices |= {f"without `{name}`": (name,) for name in EFFECTS}
    found = {label: _predicted(rows, without, workers) for label, without in choices.items()}
    columns = sorted(found["everything"])
    numbers = "|".join(f"{gpu} {phase}: median / p90" for gpu, phase in columns)
    lines = ([label, *(_cell(groups[key]) for key in columns)] for label, groups in found.items())
    return f"{TEXT}\n{markdown(('model', numbers), lines)}"


def _predicted(rows: Sequence[MeasuredRow], without: Sequence[str], workers: int) -> Groups:
    work = partial(predict_row, engine="analytic", without=without)
    groups: Groups = {}
    for outcome in outcomes(rows, work, workers):
        if isinstance(outcome, Prediction):
            groups.setdefault((outcome.row.gpu, outcome.row.phase), []).append(outcome)
    return groups


def _cell(predictions: Sequence[Prediction]) -> str:
    found = errors([p.predicted_us for p in predictions], [p.row.measured_us for p in predictions])
    return " / ".join(percent(found[name]) for name in ("median_ape", "p90_ape"))
