"""A workload file: an attention problem, and what to run it with."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from gpusim.errors import SpecError
from gpusim.spec.attention import Attention

#: Seconds of continuous load beyond which nothing changes.
MAX_LOAD_S = 1e6
Load = Literal["benchmark", "steady"] | Annotated[float, Field(strict=True, ge=0, le=MAX_LOAD_S)]


def check_conditions(l2: str, load: str | float) -> None:
    """Check the state of the machine as a workload file gives it.

    Raises:
        SpecError: naming the field, what was expected and what was found.
    """
    if l2 not in ("cold", "warm"):
        raise SpecError(f"l2: expected cold or warm, found {l2!r}")
    number = isinstance(load, (int, float)) and not isinstance(load, bool)
    seconds = number and 0 <= float(load) <= MAX_LOAD_S
    if load not in ("benchmark", "steady") and not seconds:
        raise SpecError(f"load: expected benchmark, steady or seconds from 0, found {load!r}")


class ScheduleChoice(BaseModel):
    """A schedule by name, with the options that it documents (tile sizes, splits, ...)."""

    model_config = ConfigDict(frozen=True, extra="allow")

    name: str

    @property
    def options(self) -> dict[str, Any]:
        """The options given beside the name."""
        return dict(self.model_extra or {})


class Conditions(BaseModel):
    """What workloads of all kinds have: GPUs, schedules, and the state of the machine.

    `l2` is 'cold' (nothing of this call in the L2) or 'warm' (the same buffers replayed, as
    benchmarks do). `load` is 'benchmark' (short runs, before the power limit acts), 'steady', or a
    number of seconds of continuous load.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        default="workload", description="title of the results; default: the file's name"
    )
    description: str = ""
    gpus: tuple[str, ...] = ()
    schedules: tuple[ScheduleChoice, ...] = ()
    l2: Literal["cold", "warm"] = "cold"
    load: Load = "steady"

    @field_validator("schedules", mode="before")
    @classmethod
    def _names_are_choices(cls, value: Any) -> Any:
        if not isinstance(value, (list, tuple)):
            return value
        return [{"name": item} if isinstance(item, str) else item for item in value]


class Workload(Conditions):
    """One entry to predict: attention, and what to run it with."""

    attention: Attention

    @model_validator(mode="before")
    @classmethod
    def _sequences_belong_to_attention(cls, value: Any) -> Any:
        """In the file `sequences` stands beside `attention`; in the model it is part of it."""
        if not isinstance(value, dict) or "sequences" not in value:
            return value
        rest = {key: item for key, item in value.items() if key != "sequences"}
        attention = rest.get("attention")
        if isinstance(attention, dict):
            if "sequences" in attention:
                raise ValueError("sequences: expected once, found inside and beside attention")
            rest["attention"] = attention | {"sequences": value["sequences"]}
        return rest
