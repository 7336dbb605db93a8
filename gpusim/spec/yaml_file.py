"""Reads one YAML file into plain Python values, and refuses all that a plain file does not need.

Refused: files that are large, binary or unreadable, several documents, keys that are not text or
come twice, tags, aliases (they can expand without bound), and deep nesting. Plain words mean what
they do in YAML 1.2: `on` and `yes` are text, `010` is no octal number, `1:30` is not 90.
"""

import re
from pathlib import Path
from typing import Any

import yaml

from gpusim.errors import SpecError, excerpt, plain

MAX_BYTES = 2**23
MAX_DEPTH = 20

_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"true|True|TRUE|false|False|FALSE",
    "int": r"[-+]?(?:0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"
    r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)",
}
_Loader: Any = type(
    "_Loader",
    (getattr(yaml, "CSafeLoader", yaml.SafeLoader),),
    {
        "yaml_implicit_resolvers": {
            None: [
                (f"tag:yaml.org,2002:{name}", re.compile(rf"(?:{pattern})\Z"))
                for name, pattern in _SCALARS.items()
            ]
        }
    },
)


def read_mapping(path: Path) -> dict[str, Any]:
    """Return the mapping in the file.

    Raises:
        SpecError: with the file, the key or line, what was expected and what was found.
    """
    text = read_text(path)
    try:
        _check_events(text)
        loader = _Loader(text)
        node = loader.get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise SpecError(f"expected a mapping of keys, found {_kind(node)}")
        _check_keys(node, "")
        mapping: dict[str, Any] = loader.construct_document(node)
    except SpecError as error:
        raise SpecError(f"{path}: {error}") from error
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: expected valid YAML: {_problem(error)}") from error
    except ValueError as error:  # Python reads no integer of more than 4300 digits
        raise SpecError(f"{path}: expected numbers, found one of too many digits") from error
    return mapping


def read_text(path: Path) -> str:
    """Return the text of a file.

    Raises:
        SpecError: if it cannot be read, is too large or is no UTF-8 text.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise SpecError(f"{path}: expected at most {MAX_BYTES} bytes, found a larger file")
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: expected UTF-8 text, found binary data") from error
    except OSError as error:
        raise SpecError(f"{path}: expected a readable file, found: {error.strerror}") from error


def _problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{what} (line {mark.line + 1})" if mark else what


def _check_events(text: str) -> None:
    depth = documents = 0
    for event in yaml.parse(text, Loader=_Loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        documents += isinstance(event, yaml.DocumentStartEvent)
        if documents > 1:
            raise SpecError(f"line {line}: expected one document, found another")
        if isinstance(event, yaml.AliasEvent):
            raise SpecError(f"line {line}: expected plain values, found an alias (*)")
        tag = getattr(event, "tag", None)
        if tag is not None:
            raise SpecError(f"line {line}: expected plain values, found the tag {excerpt(tag)}")
        depth += isinstance(event, yaml.CollectionStartEvent)
        depth -= isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise SpecError(f"line {line}: expected at most {MAX_DEPTH} nested levels, found more")


def _check_keys(node: yaml.Node, where: str) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.tag != "tag:yaml.org,2002:str":
                found = excerpt(key.value) if isinstance(key, yaml.ScalarNode) else _kind(key)
                raise SpecError(f"line {line}: expected a key that is text, found {found}")
            name = plain(key.value)
            path = f"{where}.{name}" if where else name
            if key.value in seen:
                raise SpecError(f"{path}: expected each key once, found it again in line {line}")
            seen.add(key.value)
            _check_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for i, value in enumerate(node.value):
            _check_keys(value, f"{where}[{i}]")


def _kind(node: yaml.Node | None) -> str:
    if node is None or node.tag == "tag:yaml.org,2002:null":
        return "nothing"
    if isinstance(node, yaml.CollectionNode):
        return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"
    return excerpt(node.value)
