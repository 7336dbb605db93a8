"""What-if profiles: a GPU with some of its numbers replaced, and a source that says so."""

from collections.abc import Callable, Mapping
from typing import Any

from gpusim.errors import SpecError, excerpt, nearest, plain
from gpusim.spec.gpu import Gpu
from gpusim.spec.provenance import Kind, Provenance

#: What a change may be beside a number.
_CHANGES = ({"times"}, {"from"})

Profile = Callable[[str], Gpu]


def changed_fields(changes: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """Changes by field, whether they are nested or written with dots.

    >>> changed_fields({"l2": {"hit_mib": {"times": 2}}, "hbm.capacity_gb": 160})
    {'l2.hit_mib': {'times': 2}, 'hbm.capacity_gb': 160}
    """
    found: dict[str, Any] = {}
    for key, value in changes.items():
        field = f"{where}.{key}" if where else key
        if isinstance(value, Mapping) and value and set(value) not in _CHANGES:
            found |= changed_fields(value, field)
        else:
            found[field] = value
    return found


def numbers_of(gpu: Gpu, field: str, change: Any, profile: Profile) -> dict[str, float]:
    """The numbers that a change of a field, or of a section, gives a profile.

    Args:
        gpu: whose numbers change.
        field: such as `l2.capacity_mib`; a section, such as `hbm`, only with `{from: GPU}`.
        change: a number, `{times: x}` for that multiple, or `{from: GPU}` for what another has.
        profile: finds a profile by name.

    Raises:
        SpecError: naming the field, for one that the profile does not have or another change.
    """
    if isinstance(change, Mapping) and set(change) == {"from"}:
        other = profile(str(change["from"]))
        return {each: other.value(each) for each in fields_of(gpu, field, other)}
    (only,) = fields_of(gpu, field) if _is_number(gpu, field) else ("",)
    if not only:
        raise SpecError(f"{field}: expected {{from: GPU}} for a section, found {excerpt(change)}")
    old = gpu.value(field)
    factor = isinstance(change, Mapping) and set(change) == {"times"}
    new = change["times"] if factor else change
    if isinstance(new, bool) or not isinstance(new, (int, float)):
        raise SpecError(
            f"{field}: expected a number, {{times: x}} or {{from: GPU}}, found {excerpt(change)}"
        )
    if factor:
        new = float(f"{old * new:.12g}")
    whole = isinstance(old, int) and float(new).is_integer()
    return {field: int(new) if whole else new}


def fields_of(gpu: Gpu, field: str, other: Gpu | None = None) -> tuple[str, ...]:
    """The field, or those of a section that have numbers in both profiles.

    Raises:
        SpecError: if there are none.
    """
    known = [name for name in gpu.provenance if other is None or name in other.provenance]
    found = tuple(name for name in known if name == field or name.startswith(f"{field}."))
    if not found:
        sections = {name.rsplit(".", 1)[0] for name in known}
        hint = nearest(field, {*known, *sections}) or "; `gpusim hardware NAME` lists them"
        raise SpecError(f"{plain(field)}: expected a number of the profile {gpu.name}{hint}")
    return found


def _is_number(gpu: Gpu, field: str) -> bool:
    return fields_of(gpu, field) == (field,)


def what_if(gpu: Gpu, numbers: Mapping[str, float], name: str = "") -> Gpu:
    """The profile with other numbers, each of kind 'estimated' with a source that says what if.

    Raises:
        SpecError: for a number that its field cannot have.
    """
    origins = {
        field: Provenance(
            kind=Kind.ESTIMATED,
            source=f"what if: {number:g} in place of {gpu.value(field):g} of {gpu.name}",
        )
        for field, number in numbers.items()
    }
    changed = gpu.replaced(numbers, origins)
    return changed.model_copy(update={"name": name}) if name else changed
