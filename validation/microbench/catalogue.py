"""All microbenchmarks, in the order in which they run: the one that heats the GPU last."""

from validation.microbench.clock import CLOCK
from validation.microbench.exp2 import EXP2
from validation.microbench.hbm import HBM
from validation.microbench.l2 import L2
from validation.microbench.launch import LAUNCH
from validation.microbench.tensor import TENSOR

BENCHMARKS = {b.name: b for b in (HBM, L2, LAUNCH, EXP2, TENSOR, CLOCK)}
