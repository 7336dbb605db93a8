"""Arithmetic over named sizes, as a kernel's amounts of work are written in a file."""

import ast
import operator
from collections.abc import Callable, Mapping
from contextlib import suppress

#: Amounts of work in one step above this are taken for mistakes.
LARGEST = 1e15

#: Sizes that a formula may name.
SYMBOLS = {
    "M": "query rows of a tile",
    "N": "keys of a tile",
    "D": "padded head size",
    "DV": "padded value width",
    "W": "warps of a CTA",
    "E": "bytes of a cached element",
}

_OPERATORS: dict[type[ast.operator], Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(formula: str | float, sizes: Mapping[str, float]) -> float:
    """Value of a formula.

    >>> evaluate("2*M*N*D", {"M": 128, "N": 64, "D": 128})
    2097152.0

    Raises:
        ValueError: if it is more than + - * / over numbers and known sizes, or its value is not a
            positive number of a size that work can have.
    """
    text = str(formula)
    try:
        value = _value(_parse(text), sizes)
    except ZeroDivisionError as error:
        raise ValueError(f"expected a formula, found a division by zero in {text!r}") from error
    if not 0 < value <= LARGEST:
        raise ValueError(f"expected above 0 and at most {LARGEST:g}, found {text!r} = {value:g}")
    return value


def check(formula: str | float) -> None:
    """Check how a formula is written; its value depends on the tile.

    Raises:
        ValueError: if it is more than + - * / over numbers and known sizes.
    """
    text = str(formula)
    with suppress(ZeroDivisionError):
        _value(_parse(text), dict.fromkeys(SYMBOLS, 1.0))


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"expected a formula such as 2*M*N*D, found {text!r}") from error


def _value(node: ast.expr, sizes: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return float(str(node.value))
    if isinstance(node, ast.Name) and node.id in sizes:
        return float(sizes[node.id])
    known = ", ".join(sizes)
    raise ValueError(f"expected + - * / over numbers and {known}, found {ast.unparse(node)!r}")
