"""Conditions and derived values over the fields of a point, as a sweep file writes them."""

import ast
import math
import operator
from collections.abc import Callable, Iterator, Mapping
from typing import Any

Lookup = Callable[[str], Any]
_Code = Callable[[Lookup], Any]

_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}
_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.In: lambda x, these: x in these,
    ast.NotIn: lambda x, these: x not in these,
}
_FUNCTIONS: Mapping[str, Callable[..., Any]] = {
    "abs": abs,
    "ceil": math.ceil,
    "floor": math.floor,
    "max": max,
    "min": min,
    "round": round,
}
#: Words that are no fields.
_CONSTANTS = {"true": True, "false": False, "null": None}
#: Longer texts, and whole numbers beyond this, are taken for mistakes.
MAX_CHARACTERS, LARGEST = 1000, 10**30


class Expression:
    """Arithmetic, comparisons and `and`, `or`, `not` over fields, numbers and quoted texts.

    >>> fits = Expression("sequences[0].q_len <= sequences[0].kv_len and gpu != 'l40s'")
    >>> fits.fields
    ('sequences[0].q_len', 'sequences[0].kv_len', 'gpu')
    >>> fits.value({"sequences[0].q_len": 1, "sequences[0].kv_len": 8, "gpu": "h100_sxm"}.get)
    True

    A field that a point does not have is null. Nothing but the functions abs, ceil, floor, max, min
    and round can be called.
    """

    def __init__(self, text: str | float) -> None:
        """Read the text.

        Raises:
            ValueError: if it is anything else.
        """
        self.text = str(text).strip()
        if len(self.text) > MAX_CHARACTERS:
            raise ValueError(f"expected at most {MAX_CHARACTERS} characters")
        try:
            tree = ast.parse(self.text, mode="eval").body
            self._code = _compiled(tree)
            self.fields = tuple(dict.fromkeys(_fields(tree)))
        except (SyntaxError, RecursionError, MemoryError) as error:
            raise ValueError(
                f"expected a condition such as q_len <= 2*kv_len, found {self.text!r}"
            ) from error

    def value(self, lookup: Lookup) -> Any:
        """The value at a point whose fields `lookup` gives; whole numbers come as integers.

        Raises:
            ValueError: if it has none, as a division by zero, or text times a number.
        """
        try:
            value = self._code(lookup)
        except (TypeError, ZeroDivisionError, OverflowError, ValueError) as error:
            raise ValueError(f"{self.text}: {error}") from error
        whole = isinstance(value, float) and value.is_integer()
        return int(value) if whole else value


def _compiled(node: ast.expr) -> _Code:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float, str):
        value = node.value
        return lambda _: value
    if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
        return _field_code(node)
    if isinstance(node, ast.BoolOp):
        parts, every = [_compiled(value) for value in node.values], isinstance(node.op, ast.And)
        return lambda look: (all if every else any)(part(look) for part in parts)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.Not, ast.USub)):
        inner, negate = _compiled(node.operand), isinstance(node.op, ast.Not)
        return lambda look: not inner(look) if negate else -_number(inner(look))
    if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
        return _arithmetic_code(node)
    if isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
        return _comparison_code(node)
    if isinstance(node, (ast.Tuple, ast.List)):
        entries = [_compiled(entry) for entry in node.elts]
        return lambda look: tuple(entry(look) for entry in entries)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and not node.keywords:
        return _call_code(node.func.id, node.args)
    raise ValueError(_refusal(node))


def _field_code(node: ast.expr) -> _Code:
    field = _field(node)
    if field in _CONSTANTS:
        value = _CONSTANTS[field]
        return lambda _: value
    return lambda look: look(field)


def _field(node: ast.expr) -> str:
    """The path that a chain of names and positions writes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_field(node.value)}.{node.attr}"
    if isinstance(node, ast.Subscript):
        index = node.slice
        if isinstance(index, ast.Constant) and type(index.value) is int:
            return f"{_field(node.value)}[{index.value}]"
    raise ValueError(_refusal(node))


def _fields(tree: ast.expr) -> Iterator[str]:
    """Every field that is named, the longest path of each."""
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop(0)
        if isinstance(node, (ast.Name, ast.Attribute, ast.Subscript)):
            if _field(node) not in _CONSTANTS:
                yield _field(node)
        elif isinstance(node, ast.Call):
            pending[:0] = node.args
        else:
            pending[:0] = list(ast.iter_child_nodes(node))


def _arithmetic_code(node: ast.BinOp) -> _Code:
    apply, left, right = _ARITHMETIC[type(node.op)], _compiled(node.left), _compiled(node.right)
    return lambda look: _number(apply(_number(left(look)), _number(right(look))))


def _number(value: Any) -> Any:
    """Refuse text and lists: a short text times a number can fill a memory."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"expected a number, found {value!r}")
    if isinstance(value, int) and abs(value) > LARGEST:
        raise OverflowError(f"expected at most {float(LARGEST):g}")
    return value


def _comparison_code(node: ast.Compare) -> _Code:
    tests = [_COMPARISONS[type(op)] for op in node.ops]
    parts = [_compiled(part) for part in (node.left, *node.comparators)]

    def compare(look: Lookup) -> bool:
        left = parts[0](look)
        for test, part in zip(tests, parts[1:], strict=True):
            right = part(look)
            if not test(left, right):
                return False
            left = right
        return True

    return compare


def _call_code(name: str, arguments: list[ast.expr]) -> _Code:
    if name not in _FUNCTIONS:
        raise ValueError(f"expected one of the functions {', '.join(_FUNCTIONS)}, found {name!r}")
    call, parts = _FUNCTIONS[name], [_compiled(argument) for argument in arguments]
    return lambda look: call(*(_number(part(look)) for part in parts))


def _refusal(node: ast.AST) -> str:
    known = "fields, numbers, quoted texts, + - * / // % and comparisons"
    return f"expected {known}, found {ast.unparse(node)!r}"
