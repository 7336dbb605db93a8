"""Predicts what an attention schedule will do on a GPU: occupancy, traffic, runtime, and why.

    >>> import gpusim
    >>> gpu = gpusim.load_gpu("a100_sxm_80gb")
    >>> attention = gpusim.Attention(
    ...     q_heads=32, kv_heads=8, head_dim=128, sequences=({"q_len": 1, "kv_len": 8192},)
    ... )
    >>> result = gpusim.simulate(attention, gpu, "flash2_split_kv")
    >>> result.launches[0].ctas
    176

Names are loaded when they are first used, so that importing the package costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gpusim.version import __version__ as __version__

if TYPE_CHECKING:
    from gpusim.errors import SpecError
    from gpusim.result import Result
    from gpusim.schedules.catalogue import SCHEDULES
    from gpusim.schedules.occupancy import Occupancy, occupancy
    from gpusim.spec.attention import Attention, Sequence
    from gpusim.spec.gpu import Gpu
    from gpusim.spec.load import load_gpu, load_plan, load_workload
    from gpusim.spec.load_model import load_model, load_model_workload
    from gpusim.spec.model import Model
    from gpusim.spec.model_workload import ModelWorkload
    from gpusim.spec.plan import Plan
    from gpusim.spec.workload import Workload
    from gpusim.study.compare import compare
    from gpusim.study.forward_pass import forward_pass
    from gpusim.study.plan import plan
    from gpusim.study.predict import simulate_workload
    from gpusim.study.simulate import simulate, simulate_many

_HOMES = {
    "SpecError": "gpusim.errors",
    "Result": "gpusim.result",
    "SCHEDULES": "gpusim.schedules.catalogue",
    "Occupancy": "gpusim.schedules.occupancy",
    "occupancy": "gpusim.schedules.occupancy",
    "Attention": "gpusim.spec.attention",
    "Sequence": "gpusim.spec.attention",
    "Gpu": "gpusim.spec.gpu",
    "load_gpu": "gpusim.spec.load",
    "load_workload": "gpusim.spec.load",
    "load_model": "gpusim.spec.load_model",
    "load_model_workload": "gpusim.spec.load_model",
    "load_plan": "gpusim.spec.load",
    "Model": "gpusim.spec.model",
    "ModelWorkload": "gpusim.spec.model_workload",
    "Plan": "gpusim.spec.plan",
    "Workload": "gpusim.spec.workload",
    "compare": "gpusim.study.compare",
    "forward_pass": "gpusim.study.forward_pass",
    "plan": "gpusim.study.plan",
    "simulate": "gpusim.study.simulate",
    "simulate_many": "gpusim.study.simulate",
    "simulate_workload": "gpusim.study.predict",
}

__all__ = [
    "SCHEDULES",
    "Attention",
    "Gpu",
    "Model",
    "ModelWorkload",
    "Occupancy",
    "Plan",
    "Result",
    "Sequence",
    "SpecError",
    "Workload",
    "compare",
    "forward_pass",
    "load_gpu",
    "load_model",
    "load_model_workload",
    "load_plan",
    "load_workload",
    "occupancy",
    "plan",
    "simulate",
    "simulate_many",
    "simulate_workload",
]


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'gpusim' has no attribute '{name}'")
