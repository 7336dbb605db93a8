"""A profile on top of another, as text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from gpusim.spec.load import shipped


def profile_text(
    base: str, *, name: str, description: str, leaves: Mapping[str, Mapping[str, Any]]
) -> str:
    """YAML that extends `base` (a shipped name or a file) by numbers.

    Args:
        base: what it extends.
        name: of the profile.
        description: of the profile.
        leaves: by field, `clock.steady_mhz`, what stands there: value, kind, source and so on.
    """
    document: dict[str, Any] = {
        "extends": base if base in shipped("hardware") else str(Path(base).resolve()),
        "name": name,
        "description": description,
    }
    for field, leaf in leaves.items():
        *path, key = field.split(".")
        node = document
        for part in path:
            node = node.setdefault(part, {})
        node[key] = dict(leaf)
    return yaml.safe_dump(document, sort_keys=False, width=98, allow_unicode=True)
