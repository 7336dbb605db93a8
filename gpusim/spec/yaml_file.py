"""Reads one YAML file into plain Python values, and refuses all that a plain file does not need.

Refused: files that are large, binary or unreadable, several documents, duplicate keys, tags,
aliases (they can expand without bound), and deep nesting.
"""

from pathlib import Path
from typing import Any

import yaml

from gpusim.errors import SpecError

MAX_BYTES = 4 * 2**20
MAX_DEPTH = 20

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in the file.

    Raises:
        SpecError: with the file, the line where there is one, what was expected and what was found.
    """
    text = _read_text(path)
    try:
        _check_events(text, path)
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            raise SpecError(f"{path}: expected a mapping of keys, found an empty file")
        _check_duplicates(node, path)
        value = loader.construct_document(node)
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: expected YAML, found {_problem(error)}") from error
    except ValueError as error:  # an impossible date, say: PyYAML lets it through
        raise SpecError(f"{path}: expected YAML, found {error}") from error
    if not isinstance(value, dict):
        raise SpecError(f"{path}: expected a mapping of keys, found {type(value).__name__}")
    return value


def _read_text(path: Path) -> str:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise SpecError(f"{path}: expected at most {MAX_BYTES} bytes, found a larger file")
        return path.read_bytes().decode("utf-8")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: expected UTF-8 text, found binary data") from error
    except OSError as error:
        raise SpecError(f"{path}: expected a readable file, found: {error.strerror}") from error


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{what} (line {mark.line + 1})" if mark else what


def _check_events(text: str, path: Path) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            raise SpecError(f"{path}: line {line}: expected plain values, found a YAML alias")
        if getattr(event, "tag", None) is not None:
            raise SpecError(f"{path}: line {line}: expected plain values, found a YAML tag")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > MAX_DEPTH:
            raise SpecError(f"{path}: line {line}: expected at most {MAX_DEPTH} nested levels")


def _check_duplicates(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if key.value in seen:
                raise SpecError(
                    f"{path}: line {key.start_mark.line + 1}: expected each key once,"
                    f" found '{key.value}' again"
                )
            seen.add(str(key.value))
            _check_duplicates(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            _check_duplicates(value, path)
