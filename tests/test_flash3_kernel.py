"""The project's FlashAttention-3 kernel, its own source, on a model of Gluon.

Every problem runs in several orders of warps and loads. Faults put into the source show what the
model finds: each must be found in one of the same orders.
"""

import ast
import inspect
import sys
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from gluon_model import NEEDS, Descriptor, Fault, Gluon, Pointer, Steps
from interpreter import problem

import gpusim
from validation import kernels
from validation.kernels.flash3 import flash3_cost
from validation.kernels.problem import Problem, random_problem
from validation.reference import reference

torch = pytest.importorskip("torch", reason=NEEDS)
S = gpusim.Sequence
ORDERS = range(3)
#: Errors of outputs of up to 4: weights and outputs are rounded to 11 or to 8 bits.
TOLERANCE = {"fp16": 4e-3, "bf16": 3.2e-2}
RAGGED = (S(q_len=300, kv_len=300), S(q_len=1, kv_len=1), S(q_len=130, kv_len=517))
ODD = (S(q_len=65, kv_len=1000), S(count=2, q_len=128, kv_len=128), S(q_len=63, kv_len=127))
MORE_QUERIES = (S(q_len=300, kv_len=40), S(q_len=5, kv_len=3), S(q_len=129, kv_len=1))
PROBLEMS = {
    "causal": problem(sequences=RAGGED),
    "not causal": problem(sequences=RAGGED, causal=False, q_heads=2, kv_heads=2),
    "bf16": problem(sequences=ODD, dtype="bf16", q_heads=2, kv_heads=1),
    "d=128": problem(sequences=ODD, head_dim=128, q_heads=3, kv_heads=1),
    "more queries than keys": problem(sequences=MORE_QUERIES, causal=False, head_dim=128),
}


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """For torch: tiles are too small to share."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Pausing(ast.NodeTransformer):
    """Lets a function pause in each call: f(x) becomes `yield from result_of(f(x))`."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        self.generic_visit(node)
        return ast.YieldFrom(ast.Call(ast.Name("result_of", ast.Load()), [node], []))


def result_of(value: Any) -> Steps:
    """What a call returns, after its steps if it has any."""
    return (yield from value) if isinstance(value, Generator) else value


@dataclass(frozen=True)
class Kernel:
    """A decorated function: kernels call it, and grids of it are launched."""

    function: Callable[..., Steps]
    model: Gluon

    def __call__(self, *args: Any) -> Steps:
        return self.function(*args)

    def __getitem__(self, grid: tuple[int, int, int]) -> Callable[..., None]:
        def launch(*args: Any, num_warps: int, **constants: Any) -> None:
            assert num_warps == 4  # of the first part; others bring their own
            named = inspect.signature(self.function).bind(*args, **constants).arguments
            for name, x in named.items():
                if isinstance(x, Descriptor):
                    x.name = name
                elif isinstance(x, torch.Tensor):
                    named[name] = Pointer(name, x.view(-1))
            for output in ("O", "LSE"):
                named[output].values.fill_(torch.nan)
            for z, y, x in product(*map(range, reversed(grid))):
                self.model.program_id = (x, y, z).__getitem__
                assert not list(self.function(**named))  # nobody to wait for

        return launch


def flash3_on(model: Gluon, change: tuple[str, str] | None = None) -> ModuleType:
    """The module `flash3`, with its `ring`; of both sources together, one text is replaced."""

    def jit(function: Any = None, **_: object) -> Any:
        return Kernel(function, model) if function else jit

    gluon = SimpleNamespace(jit=jit, language=model)
    names = ("language", "language.nvidia.hopper", "nvidia.hopper")
    stubs: dict[str, Any] = {f"triton.experimental.gluon.{name}": model for name in names}
    stubs["triton.experimental"] = SimpleNamespace(gluon=gluon)
    stubs["triton.experimental.gluon"] = gluon
    changed = 0
    with patch.dict(sys.modules, stubs):
        for name in ("ring", "flash3"):
            path = Path(kernels.__path__[0]) / f"{name}.py"
            source = path.read_text(encoding="utf-8")
            if change:
                changed += source.count(change[0])
                source = source.replace(*change)
            tree = ast.parse(source)
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and node.decorator_list:
                    node.body = [Pausing().visit(statement) for statement in node.body]
            module = ModuleType(f"{kernels.__name__}.{name}")
            vars(module)["result_of"] = result_of
            exec(compile(ast.fix_missing_locations(tree), path, "exec"), vars(module))
            sys.modules[module.__name__] = module
    if change and changed != 1:
        raise ValueError(f"expected one place in the source, found {changed}: {change[0]}")
    return module


def run(
    given: Problem, *, change: tuple[str, str] | None = None, stages: int, block_n: int
) -> list[Gluon]:
    """Compares results in each order with those of the reference; returns the counts."""
    output, statistic = reference(given)
    models = [Gluon(order) for order in ORDERS]
    for model in models:
        o, lse = flash3_on(model, change).flash3(given, stages=stages, block_n=block_n)
        tolerance = TOLERANCE[given.attention.dtype]
        np.testing.assert_allclose(o.double().numpy(), output, rtol=0, atol=tolerance)
        np.testing.assert_allclose(lse.numpy(), statistic, rtol=1e-5, atol=1e-5)
    return models


@pytest.mark.parametrize(("stages", "block_n"), [(1, 128), (2, 128), (3, 64)])
@pytest.mark.parametrize("name", PROBLEMS)
def test_results_flop_and_stores_are_right_in_any_order(
    name: str, stages: int, block_n: int
) -> None:
    given = PROBLEMS[name]
    cost = flash3_cost(given.attention, block_m=128, block_n=block_n)
    for model in run(given, stages=stages, block_n=block_n):
        assert (model.flop, model.writes) == (cost.flop, cost.writes)


def test_whole_tiles_are_loaded_as_often_as_declared() -> None:
    given = problem(sequences=(S(q_len=128, kv_len=384), S(count=2, q_len=256, kv_len=256)))
    cost = flash3_cost(given.attention, block_m=128, block_n=128)
    assert [model.reads for model in run(given, stages=2, block_n=128)] == [cost.reads] * 3


def test_queries_that_see_no_key_give_zero() -> None:
    """No valid `Attention` has any; the kernel walks one masked tile for them."""
    attention = PROBLEMS["causal"].attention.model_copy(update={"sequences": MORE_QUERIES})
    run(random_problem(attention), stages=2, block_n=128)


K_DONE = "        s = warpgroup_mma_wait(1, deps=[s])\n"
K_FREE = "        mbarrier.arrive(k_empty.index(i % STAGES))\n"
V_DONE = "        acc, p, weights = warpgroup_mma_wait(0, deps=[pv, p, weights])\n"
V_FREE = "        mbarrier.arrive(v_empty.index((i - 1) % STAGES))\n"
V_LAST = "    load_tile(V, kv_at, num_tiles, v, v_full, v_empty, num_tiles - 1)\n"
RESCALE = "        acc = acc * gl.convert_layout(alpha, gl.SliceLayout(1, ACC))[:, None]\n"
STANDING = "did not stand in shared memory"
UNFINISHED = "used before a wait has ended it"
WRONG = "Mismatched elements"
#: A text of the source, what takes its place, and how that shows.
FAULTS = {
    "K is never free": (K_FREE, "", "deadlock"),
    "V is never free": (V_FREE, "", "deadlock"),
    "K is free before its product is done": (K_DONE + K_FREE, K_FREE + K_DONE, STANDING),
    "V is free before its product is done": (V_DONE + V_FREE, V_FREE + V_DONE, STANDING),
    "V is free when one consumer says so": (
        "v_empty = make_barriers(1, STAGES), make_barriers(2, STAGES)",
        "v_empty = make_barriers(1, STAGES), make_barriers(1, STAGES)",
        f"deadlock|{STANDING}",
    ),
    "the producer waits a round too long": ("i + STAGES, STAGES", "i, STAGES", "deadlock"),
    "the producer never waits": (
        "    wait_round(empty, i + STAGES, STAGES)",
        "    ",
        "too many arrivals",
    ),
    "nobody waits for Q": ("    mbarrier.wait(q_full, 0)\n", "", STANDING),
    "nobody waits for K": ("    wait_round(k_full, i, STAGES)\n", "", STANDING),
    "nobody waits for V": ("    wait_round(v_full, i, STAGES)\n", "", STANDING),
    "one box of Q is waited for": ("2 * Q.block_type", "Q.block_type", STANDING),
    "the guard of PV's wait takes K's barrier": (
        "wait_round(v_full, i - 1, STAGES)",
        "wait_round(k_full, i, STAGES)",
        "deadlock",
    ),
    "scores are used early": ("mma_wait(1, deps=[s])", "mma_wait(2, deps=[s])", UNFINISHED),
    "PV is used early": ("mma_wait(0, deps=[pv,", "mma_wait(1, deps=[pv,", UNFINISHED),
    "weights are dropped under their product": (
        V_DONE,
        V_DONE.replace("p, weights", "weights"),
        "not named by the wait",
    ),
    "PV takes the next V": ("v.index(i % STAGES), acc", "v.index((i + 1) % STAGES), acc", STANDING),
    "the last V is not loaded": (V_LAST, "", "deadlock"),
    "a V too many is loaded": (V_LAST, V_LAST + V_LAST.replace(" - 1", ""), "load in flight"),
    "queries do not see their own key": ("rows + shift + 1", "rows + shift", WRONG),
    "a tile is not masked": ("tile >= whole", "tile > whole", WRONG),
    "tiles are masked in the opposite order": ("num_tiles - 1 - i, P", "i, P", WRONG),
    "what saw nothing is nan": (
        'gl.where(m_new == float("-inf"), 0.0, m_new)',
        "m_new",
        "nan location mismatch",
    ),
    "acc is not rescaled": (RESCALE, "", WRONG),
    "groups are interleaved": ("head // (q_heads // kv_heads)", "head % kv_heads", WRONG),
    "consumers have the same rows": ("lengths, second_row", "lengths, first_row", "stored twice"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_faults_in_the_source_are_found(fault: str) -> None:
    old, new, shows = FAULTS[fault]
    with pytest.raises((Fault, AssertionError), match=shows):
        run(PROBLEMS["causal"], change=(old, new), stages=2, block_n=64)
