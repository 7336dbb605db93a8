"""Documents as flat mappings of dotted fields, such as `sequences[0].kv_len`, and back."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import pairwise
from typing import Any

_STEP = re.compile(r"(?:^|\.)([^.\[\]]+)|\[(\d{1,4})\]")


def flatten(value: Any, where: str = "") -> dict[str, Any]:
    """Fields of a document and their values; lists are taken apart where they hold mappings.

    >>> flatten({"l2": "warm", "sequences": [{"q_len": 1, "kv_len": 8}], "gpus": ["l40s"]})
    {'l2': 'warm', 'sequences[0].q_len': 1, 'sequences[0].kv_len': 8, 'gpus': ['l40s']}
    """
    return dict(_leaves(value, where)) if value != {} or where else {}


def _leaves(value: Any, where: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(inner, f"{where}.{key}" if where else str(key))
    elif isinstance(value, list) and value and all(isinstance(v, Mapping) and v for v in value):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{where}[{i}]")
    else:
        yield where, value


def nested(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The document of such fields.

    >>> nested({"l2": "warm", "sequences[0].q_len": 1, "sequences[0].kv_len": 8})
    {'l2': 'warm', 'sequences': [{'q_len': 1, 'kv_len': 8}]}

    Raises:
        ValueError: for a field inside one that is no mapping or list, or beyond the end of a list.
    """
    root: dict[str, Any] = {}
    for field, value in fields.items():
        node: Any = root
        path = steps(field)
        for step, following in pairwise(path):
            fresh: Any = [] if isinstance(following, int) else {}
            node = _put(node, step, fresh, field, keep=True)
        _put(node, path[-1], value, field)
    return root


def _put(node: Any, step: str | int, value: Any, field: str, *, keep: bool = False) -> Any:
    """Set a key or an entry, or keep what is there already; return what is there then."""
    if isinstance(node, dict) and isinstance(step, str):
        if not (keep and step in node):
            node[step] = value
    elif isinstance(node, list) and isinstance(step, int) and step <= len(node):
        if step == len(node):
            node.append(value)
        elif not keep:
            node[step] = value
    else:
        raise ValueError(
            f"{field}: expected a list with all entries before it, or a section, to put it in"
        )
    return node[step]


@lru_cache(maxsize=4096)
def steps(field: str) -> tuple[str | int, ...]:
    """Keys and positions of a field's path.

    >>> steps("sequences[0].kv_len")
    ('sequences', 0, 'kv_len')

    Raises:
        ValueError: if it is not written like one.
    """
    found, end = [], 0
    for match in _STEP.finditer(field):
        if match.start() != end:
            break
        key, position = match.groups()
        found.append(int(position) if key is None else key)
        end = match.end()
    if end != len(field) or not found or isinstance(found[0], int) or field[0] == ".":
        raise ValueError(f"expected a field such as sequences[0].kv_len, found {field!r}")
    return tuple(found)


def inside(field: str, other: str) -> bool:
    """Whether a field is part of another one.

    >>> inside("sequences[0].kv_len", "sequences"), inside("schedules", "schedule")
    (True, False)
    """
    return field.startswith(other) and field[len(other) : len(other) + 1] in (".", "[")
