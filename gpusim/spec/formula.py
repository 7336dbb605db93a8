"""Arithmetic over named sizes, as a kernel's amounts of work are written in a file."""

import ast
import operator
from collections.abc import Callable, Mapping

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
        ValueError: if it is more than + - * / over numbers and known sizes, or not positive.
    """
    text = str(formula)
    if len(text) > 200:
        raise ValueError("expected a formula of at most 200 characters")
    try:
        value = _value(ast.parse(text, mode="eval").body, sizes)
    except (SyntaxError, ZeroDivisionError, OverflowError, RecursionError) as error:
        raise ValueError(f"expected a formula such as 2*M*N*D, found {text!r}") from error
    if not 0 < value < float("inf"):
        raise ValueError(f"expected a formula above 0, found {text!r} = {value:g}")
    return value


def _value(node: ast.expr, sizes: Mapping[str, float]) -> float:
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return _OPERATORS[type(node.op)](_value(node.left, sizes), _value(node.right, sizes))
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        return float(node.value)
    if isinstance(node, ast.Name) and node.id in sizes:
        return float(sizes[node.id])
    known = ", ".join(sizes)
    raise ValueError(f"expected + - * / over numbers and {known}, found {ast.unparse(node)!r}")
