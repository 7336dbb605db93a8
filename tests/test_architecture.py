"""The rules of the house that a reader of one file cannot see: who imports whom, who prints."""

import ast
from pathlib import Path

import pytest

from gpusim.spec.load import shipped

PACKAGE = Path(__file__).resolve().parents[1] / "gpusim"
MODULES = sorted(PACKAGE.rglob("*.py"))

#: Rooms from left to right; a room imports itself and rooms of an earlier row.
ROWS: tuple[frozenset[str], ...] = (
    frozenset({"errors", "units", "version"}),
    frozenset({"launch_result"}),
    frozenset({"result"}),
    frozenset({"spec"}),
    frozenset({"schedules"}),
    frozenset({"machine"}),
    frozenset({"sim", "analytic"}),
    frozenset({"study"}),
    frozenset({"report"}),
    frozenset({"cli"}),
)
RANK = {room: rank for rank, row in enumerate(ROWS) for room in row}
#: Drawing needs results and nouns, but neither machine nor engines.
REPORT_MAY = frozenset({"errors", "units", "version", "result", "spec", "schedules", "report"})


def _room(module: Path) -> str:
    return module.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _tree(module: Path) -> ast.Module:
    return ast.parse(module.read_text(encoding="utf-8"), filename=str(module))


def _imports(module: Path) -> set[str]:
    """Modules of the package that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: expected absolute imports"
            base = node.module or ""
            names = {f"gpusim.{a.name}" for a in node.names}
            found |= names if base == "gpusim" else {base}
    return {name for name in found if name.split(".")[0] == "gpusim"}


def _name(module: Path) -> str:
    return str(module.relative_to(PACKAGE))


ROOMED = [module for module in MODULES if module.parent != PACKAGE or _room(module) in RANK]


def test_every_module_belongs_to_a_room() -> None:
    strays = {_name(m) for m in MODULES if _room(m) not in RANK}
    assert strays <= {"__init__.py", "__main__.py"}


@pytest.mark.parametrize("module", ROOMED, ids=_name)
def test_a_room_imports_only_rooms_to_its_left(module: Path) -> None:
    room = _room(module)
    for name in _imports(module):
        other = name.split(".")[1] if "." in name else "gpusim"
        assert other in RANK, f"{_name(module)} imports {name}"
        assert other == room or RANK[other] < RANK[room], f"{_name(module)} imports {name}"
        assert room != "report" or other in REPORT_MAY, f"{_name(module)} imports {name}"


@pytest.mark.parametrize("module", ROOMED, ids=_name)
def test_only_the_command_line_prints(module: Path) -> None:
    if _room(module) == "cli":
        return
    for node in ast.walk(_tree(module)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "print", f"{_name(module)}:{node.lineno} prints"
        if isinstance(node, ast.Attribute):
            outputs = ("stdout", "stderr", "echo", "secho")
            assert node.attr not in outputs, f"{_name(module)}:{node.lineno} prints"


@pytest.mark.parametrize("module", MODULES, ids=_name)
def test_no_code_asks_which_gpu_it_runs_on(module: Path) -> None:
    gpus = set(shipped("hardware"))
    for node in ast.walk(_tree(module)):
        asked: list[ast.expr] = []
        if isinstance(node, ast.Compare):
            asked = [node.left, *node.comparators]
        elif isinstance(node, ast.Match):
            asked = [node.subject]
        elif isinstance(node, ast.MatchValue):
            asked = [node.value]
        for part in (inner for expression in asked for inner in ast.walk(expression)):
            where = f"{_name(module)}:{getattr(part, 'lineno', 0)}"
            assert not _is_gpu_name(part), f"{where} compares the name of a GPU"
            assert not (isinstance(part, ast.Constant) and part.value in gpus), where


def _is_gpu_name(node: ast.AST) -> bool:
    """Whether the expression is `gpu.name`, of a variable or an attribute called gpu."""
    if not isinstance(node, ast.Attribute) or node.attr != "name":
        return False
    owner = node.value
    called = owner.id if isinstance(owner, ast.Name) else getattr(owner, "attr", "")
    return called == "gpu"


def test_the_rules_catch_what_they_are_for() -> None:
    asking = ast.parse("x = 2 if self.gpu.name == 'other' else 1")
    assert any(_is_gpu_name(node) for node in ast.walk(asking))
    assert RANK["sim"] == RANK["analytic"]
    assert {_room(module) for module in MODULES} >= {"spec", "schedules", "machine", "sim", "cli"}
