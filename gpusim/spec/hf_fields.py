"""Fields of a `config.json`, with the defaults of its model type, checked one by one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gpusim.errors import SpecError, excerpt


@dataclass(frozen=True, slots=True, kw_only=True)
class Fields:
    """What a file says of a model.

    Attributes:
        kind: the `model_type`.
        given: the mapping in the file.
        defaults: of the model type, for what the file leaves out.
        where: path of the mapping in the file, with a dot at its end.
    """

    kind: str
    given: Mapping[str, Any]
    defaults: Mapping[str, Any]
    where: str = ""

    def __getitem__(self, name: str) -> Any:
        """A field as it stands; None: it is left out or null."""
        return self.given.get(name, self.defaults.get(name))

    def integer(self, name: str) -> int:
        """A size, at least 1.

        Raises:
            SpecError: if it is missing or no such number.
        """
        value = self.optional(name)
        if value is None:
            raise SpecError(f"{self.where}{name}: expected an integer, found none")
        return value

    def optional(self, name: str) -> int | None:
        """A size, or None where there is none.

        Raises:
            SpecError: if it is no integer of at least 1.
        """
        value = self[name]
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise SpecError(
                f"{self.where}{name}: expected an integer of at least 1, found {excerpt(value)}"
            )
        return value

    def flag(self, name: str) -> bool:
        """True or false; false where there is none.

        Raises:
            SpecError: if it is neither.
        """
        value = self[name]
        if value is not None and not isinstance(value, bool):
            raise SpecError(f"{self.where}{name}: expected true or false, found {excerpt(value)}")
        return bool(value)
