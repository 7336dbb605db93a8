"""One model on one GPU or several: what the parts of its forward pass take."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Any

from gpusim.errors import SpecError
from gpusim.launch_result import LaunchResult
from gpusim.machine.all_reduce import all_reduce_us, check_node
from gpusim.result import Result
from gpusim.schedules.decoder import ACTIVATION_BYTES, Decoder, Product
from gpusim.schedules.elementwise import copy_launch
from gpusim.schedules.launch import Launch
from gpusim.spec.attention import BYTES, DType, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.model import Model
from gpusim.spec.workload import check_conditions
from gpusim.study.call import Call, call_of, run_calls
from gpusim.study.gemm import predict_gemm
from gpusim.study.simulate import check_engine
from gpusim.study.step_parts import Launches, not_a_kernel, timed

#: Bytes of a logit once the sampler has converted it.
LOGIT_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """A model on `tensor_parallel` GPUs, with a schedule for its attention.

    Attributes:
        options: of the schedule.
        weight_dtype: of the projections; activations are in 16 bit.
        kv_dtype: of the KV cache; None: 16 bit.
        page_size: of the KV cache; None: the schedule's.
        l2: state of the cache before attention; weights are always cold.
    """

    model: Model
    gpu: Gpu
    schedule: str
    options: Mapping[str, Any] = field(default_factory=dict)
    tensor_parallel: int = 1
    weight_dtype: DType = "bf16"
    kv_dtype: DType | None = None
    page_size: int | None = None
    engine: str = "analytic"
    l2: str = "cold"
    load: str | float = "steady"

    def __post_init__(self) -> None:
        check_engine(self.engine)
        check_conditions(self.l2, self.load)
        self.model.check_parallel(self.tensor_parallel)
        try:
            check_node(self.tensor_parallel)
        except SpecError as error:
            raise SpecError(f"tensor_parallel: {error}") from error
        tensor = self.gpu.tensor
        known = tensor.mma_sync_flop_per_clock.keys() | tensor.wgmma_flop_per_clock.keys()
        for name in ("weight_dtype", "kv_dtype"):
            dtype = getattr(self, name)
            if dtype is not None and (dtype not in BYTES or dtype not in known):
                have = ", ".join(sorted(known & BYTES.keys()))
                raise SpecError(
                    f"{name}: expected a type that {self.gpu.name} has ({have}), found {dtype}"
                )

    @property
    def dtype(self) -> DType:
        """Type of activations."""
        return "fp16" if self.weight_dtype == "fp16" else "bf16"

    @property
    def cache_dtype(self) -> DType:
        """Type of the KV cache."""
        return self.kv_dtype or self.dtype

    @property
    def decoder(self) -> Decoder:
        """The layers, counted."""
        return Decoder(
            model=self.model,
            tensor_parallel=self.tensor_parallel,
            weight_dtype=self.weight_dtype,
        )

    def attention(self, steps: Iterable[tuple[Sequence, ...]]) -> list[list[tuple[Result, int]]]:
        """Attention of steps over such sequences: for each window its result and number of layers.

        Raises:
            SpecError: if the schedule cannot take a problem, or it is a decode from a latent cache.
        """
        steps, windows = list(steps), self.model.windows.items()
        calls = (self._call(sequences, window) for sequences in steps for window, _ in windows)
        results = run_calls(calls, self.engine)
        return [[(next(results), layers) for _, layers in windows] for _ in steps]

    def _call(self, sequences: tuple[Sequence, ...], window: int | None) -> Call:
        model = self.model
        if model.mla is not None and any(s.q_len == 1 for s in sequences):
            width = model.mla.kv_rank + model.mla.rope_dim
            raise SpecError(
                f"schedule {self.schedule}: expected no single queries over a latent cache (MLA),"
                f" found some: their keys are {width} wide, and no schedule has such a kernel"
            )
        attention = model.attention(
            sequences,
            window,
            tensor_parallel=self.tensor_parallel,
            dtype=self.dtype,
            kv_dtype=self.kv_dtype,
            page_size=self.page_size,
        )
        options = dict(self.options)
        return call_of(attention, self.gpu, self.schedule, options, l2=self.l2, load=self.load)

    def cache_writes(self, tokens: Iterable[int]) -> list[Launches]:
        """The kernel that stores so many new keys and values in steps whose schedule has none."""
        elements = self.model.kv_layer_bytes(self.cache_dtype, self.tensor_parallel)
        width = elements // BYTES[self.cache_dtype]
        copies = [
            copy_launch(
                "cache_write", read_bytes=n * width * ACTIVATION_BYTES, write_bytes=n * elements
            )
            for n in tokens
        ]
        times = [(self.model.num_layers, "attention")] * len(copies)
        return self._timed(copies, times)

    def layers(self, tokens: int, context: int) -> Launches:
        """All layers but their attention, for so many new tokens of sequences so long in all."""
        found: list[LaunchResult] = []
        for product in self.decoder.products(tokens, context):
            found += self._product(product)
        passes = list(self.decoder.passes(tokens))
        copies = [
            copy_launch(each.name, read_bytes=each.read_bytes, write_bytes=each.write_bytes)
            for each in passes
        ]
        found += chain.from_iterable(self._timed(copies, [(p.calls, "norms") for p in passes]))
        size = tokens * self.model.hidden_size * ACTIVATION_BYTES
        return *found, *self.exchanged("all_reduce", size, 2 * self.model.num_layers)

    def embedding(self, tokens: int) -> Launches:
        """A row of each token; with several GPUs each holds a part of the vocabulary."""
        size = tokens * self.model.hidden_size * ACTIVATION_BYTES
        copy = copy_launch("embedding", read_bytes=size, write_bytes=size)
        return (
            *self._timed([copy], [(1, "head")])[0],
            *self.exchanged("all_reduce_embedding", size, 1),
        )

    def head(self, rows: int) -> Launches:
        """Logits and greedy sampling of the last token of so many sequences."""
        model, tp = self.model, self.tensor_parallel
        vocab = model.vocab_per_gpu(tp)
        logits = rows * vocab * tp * ACTIVATION_BYTES
        read = rows * vocab * tp * LOGIT_BYTES
        copies = [
            copy_launch("convert_logits", read_bytes=logits, write_bytes=read),
            copy_launch("sample", read_bytes=read, write_bytes=rows * LOGIT_BYTES),
        ]
        head = predict_gemm(
            self.gpu,
            rows,
            vocab,
            model.hidden_size,
            dtype=self.dtype,
            engine=self.engine,
            load=self.load,
        )
        return (
            *(replace(la, name=_joined("lm_head", la.name), operator="head") for la in head),
            *self.exchanged("gather_logits", logits / 2, 1),
            *chain.from_iterable(self._timed(copies, [(1, "head")] * len(copies))),
        )

    def exchanged(self, name: str, size: float, calls: int) -> Launches:
        """An exchange among the GPUs that takes as long as an all-reduce of so many bytes."""
        if self.tensor_parallel == 1:
            return ()
        time_us = all_reduce_us(self.gpu, size, self.tensor_parallel)
        return (not_a_kernel(name, time_us, operator="all_reduce", calls=calls),)

    def _product(self, product: Product) -> Launches:
        projection = product.projection
        found = predict_gemm(
            self.gpu,
            product.rows,
            projection.outputs,
            projection.inputs,
            dtype=self.dtype if projection.stays_plain else self.weight_dtype,
            groups=product.groups,
            engine=self.engine,
            load=self.load,
        )
        return tuple(
            replace(
                la,
                name=_joined(projection.name, la.name),
                calls=product.calls,
                operator="gemm",
            )
            for la in found
        )

    def _timed(self, launches: list[Launch], labels: Iterable[tuple[int, str]]) -> list[Launches]:
        """Launches by themselves; each runs so many times, for an operator."""
        found = timed(self.gpu, launches, self.engine, self.load)
        return [
            tuple(replace(la, calls=calls, operator=operator) for la in each)
            for each, (calls, operator) in zip(found, labels, strict=True)
        ]


def _joined(operator: str, kernel: str) -> str:
    """What is multiplied, and by which kernel."""
    return f"{operator}: {kernel}"
