"""What a page says of its inputs, so that the run can be repeated."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gpusim.report.page_table import Column, Table, words
from gpusim.spec.gpu import Gpu
from gpusim.spec.provenance import Kind
from gpusim.spec.source_keys import source_keys
from gpusim.version import __version__


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything that the results came from.

    Attributes:
        command: the command line that gives the same results.
        options: what it was run with, defaults included.
        documents: text of the inputs as they were understood, by a name for each.
        gpus: the profiles.
        version: of gpusim.
    """

    command: str
    options: Mapping[str, Any] = field(default_factory=dict)
    documents: Mapping[str, str] = field(default_factory=dict)
    gpus: Sequence[Gpu] = ()
    version: str = __version__

    def as_dict(self) -> dict[str, Any]:
        """The JSON form."""
        return {
            "command": self.command,
            "gpusim": self.version,
            "options": dict(self.options),
            "documents": dict(self.documents),
            "profiles": {gpu.name: gpu.numbers() for gpu in self.gpus},
        }

    @property
    def run_with(self) -> list[tuple[str, str]]:
        """The options as text, those that were not given left out."""
        given = {k: v for k, v in self.options.items() if v not in (None, (), [], "", False)}
        return [(k, _text(v)) for k, v in given.items()]

    @property
    def profiles(self) -> list[Table]:
        """Numbers with kind and source, profile by profile; then what their sources are."""
        return [*(_profile(gpu) for gpu in self.gpus), *self._keys()]

    def _keys(self) -> list[Table]:
        """What the keys in the sources stand for."""
        found = {key: text for gpu in self.gpus for key, text in source_keys(gpu).items()}
        if not found:
            return []
        keys = words("key", (f"[{key}]" for key in found))
        columns = (keys, words("what it is", found.values(), wraps=True))
        return [Table(caption="What the keys in brackets stand for", columns=columns, folded=True)]


def kinds_of(gpu: Gpu) -> str:
    """How many of a profile's numbers come from where, the most trusted first."""
    counts = Counter(origin.kind for origin in gpu.provenance.values())
    return ", ".join(f"{counts[kind]} {_KINDS[kind]}" for kind in Kind if counts[kind])


_KINDS = {
    Kind.DATASHEET: "from data sheets",
    Kind.MEASURED: "measured",
    Kind.CALIBRATED: "calibrated",
    Kind.ESTIMATED: "estimated",
}


def _profile(gpu: Gpu) -> Table:
    rows = gpu.numbers()
    values = tuple(f"{row['value']:,.10g}" for row in rows)
    return Table(
        caption=f"{gpu.description or gpu.name} ({gpu.name}): {len(rows)} numbers, {kinds_of(gpu)}",
        columns=(
            words("number", (row["field"] for row in rows)),
            Column("value", values, right=True),
            words("kind", (row["kind"] for row in rows)),
            words("source", (row["source"] for row in rows), wraps=True),
        ),
        folded=True,
    )


def _text(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(map(str, value))
    return "yes" if value is True else str(value)
