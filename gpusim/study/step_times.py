"""Time of any step of a serving deployment, from forward passes on a grid."""

from gpusim.spec.attention import MAX_TOKENS, DType, Sequence
from gpusim.spec.gpu import Gpu
from gpusim.spec.model import Model
from gpusim.study.deployment import Deployment
from gpusim.study.forward_pass import attention_launches
from gpusim.study.log_grid import LogGrid, spaced
from gpusim.study.step_parts import Launches

#: Below so many tokens of a step, how far apart the layers are predicted; and beyond all of them.
_TOKEN_STEPS, _LAST_STEP = ((16, 1), (256, 16), (1024, 32), (4096, 64), (16384, 128)), 1024
#: Shorter decodes take as long as decodes of so many cached tokens.
LEAST_CONTEXT = 16
#: The smallest chunk of a prompt: beside it, decodes are looked at as any chunk has them.
_TINY = Sequence(q_len=2, kv_len=2)


class StepTimes:
    """Step times of a model on a GPU, interpolated between predictions made once.

    A step is the layers for its new tokens, the head for its sequences, and attention:

        decodes alone            by batch and mean context
        a chunk of a prompt      by its tokens P and mean context of a query, K - P/2
        both in one call         the sum of both, the decodes as the schedule takes them beside a
                                 chunk, times what overlaps; that is looked at on a coarser grid

    All decodes have their mean context. Only tensors' shapes count, so that the same object serves
    any traffic. Interpolated and direct predictions differ by a few per cent
    (`tests/test_step_times.py`); beyond the grid its last two points go on.
    """

    def __init__(  # noqa: PLR0913 - named options, each with a default
        self,
        model: Model,
        gpu: Gpu,
        schedule: str,
        *,
        tensor_parallel: int = 1,
        weight_dtype: DType = "bf16",
        kv_dtype: DType | None = None,
        page_size: int | None = None,
        overhead_us: float = 0.0,
        engine: str = "analytic",
        load: str | float = "steady",
        max_chunk: int = 8192,
        max_batch: int = 512,
        max_context: int = 131072,
    ) -> None:
        """Predict the grid.

        Args:
            model: shapes.
            gpu: a profile.
            schedule: of attention.
            tensor_parallel: GPUs that share the model.
            weight_dtype: of the projections.
            kv_dtype: of the KV cache; default: 16 bit.
            page_size: of the KV cache; default: the schedule's.
            overhead_us: time of a step outside kernels.
            engine: 'analytic' or 'sim'.
            load: 'benchmark', 'steady' or seconds of continuous load.
            max_chunk: tokens of a prompt's chunk up to which the grid reaches.
            max_batch: sequences of a step up to which it reaches.
            max_context: cached tokens of a sequence up to which it reaches.

        Raises:
            SpecError: as `gpusim.forward_pass`; also for a model that has no decode here (MLA).
        """
        self.overhead_us = overhead_us
        self._deployment = Deployment(
            model=model,
            gpu=gpu,
            schedule=schedule,
            tensor_parallel=tensor_parallel,
            weight_dtype=weight_dtype,
            kv_dtype=kv_dtype,
            page_size=page_size,
            engine=engine,
            load=load,
        )
        contexts = [kv for kv in spaced(max(max_context, LEAST_CONTEXT)) if kv >= LEAST_CONTEXT]
        self._decode = LogGrid(
            [spaced(max_batch, 2), contexts],
            lambda points: self._attention_us([(_decodes(*point),) for point in points]),
        )
        self._layers = {n: self._predict_layers(n) for n in _points(max(max_chunk, max_batch))}
        self._rows = LogGrid(
            [spaced(max_batch)],
            lambda points: [_total(self._deployment.head(rows)) for (rows,) in points],
        )
        self._chunk = _chunks(self, max_chunk, max_context)
        self._beside = LogGrid(
            [spaced(max_batch), contexts],
            lambda points: self._attention_us([(_decodes(*point), _TINY) for point in points]),
        )
        self._overlap = LogGrid(
            [
                _coarse(1, max_batch),
                _coarse(64, max_context),
                _coarse(16, max_chunk),
                [0.5, 2, 16, 256],
            ],
            self._overlaps,
            clamped=True,
        )

    def step_us(
        self,
        *,
        decode_batch: int,
        decode_kv_tokens: int,
        prefill_tokens: int,
        prefill_kv_tokens: int,
    ) -> float:
        """Time of one step in us.

        Args:
            decode_batch: sequences that bring one token each; may be 0.
            decode_kv_tokens: their cached tokens in all, the new ones included.
            prefill_tokens: new tokens of one chunk of a prompt; may be 0.
            prefill_kv_tokens: its context, these tokens included.

        Raises:
            ValueError: if there is nothing to do.
        """
        batch, chunk = decode_batch, prefill_tokens
        tokens, rows = batch + chunk, batch + (chunk > 0)
        if tokens < 1:
            raise ValueError("expected decodes or a chunk of a prompt, found neither")
        context = max(1.0, decode_kv_tokens / batch) if batch else 0.0
        mean = max(0.5, prefill_kv_tokens / chunk - 0.5) if chunk else 0.0
        if not chunk:
            attention = self._decode.at(batch, context)
        elif not batch:
            attention = self._chunk.at(chunk, mean)
        else:
            apart = self._beside.at(batch, context) + self._chunk.at(chunk, mean)
            attention = apart * self._overlap.at(batch, context, chunk, mean)
        return self.overhead_us + attention + self._layers_us(tokens) + self._rows.at(rows)

    def _attention_us(self, steps: list[tuple[Sequence, ...]]) -> list[float]:
        """Attention of all layers, the cache write included, of steps over such sequences."""
        return [_total(kernels) for kernels, _ in attention_launches(self._deployment, steps)]

    def _layers_us(self, tokens: int) -> float:
        """All layers without attention, and the embedding.

        Products climb stairs, a tile more at a time, so that points lie close and in a straight
        line. Those beyond the grid are predicted when first asked about.
        """
        apart = _apart(tokens)
        below = tokens - tokens % apart
        if below == tokens:
            return self._layers_at(tokens)
        low, high = self._layers_at(below), self._layers_at(below + apart)
        return low + (high - low) * (tokens - below) / apart

    def _layers_at(self, tokens: int) -> float:
        if tokens not in self._layers:
            self._layers[tokens] = self._predict_layers(tokens)
        return self._layers[tokens]

    def _predict_layers(self, tokens: int) -> float:
        deployment = self._deployment
        return _total((*deployment.layers(tokens, tokens), *deployment.embedding(tokens)))

    def _overlaps(self, points: list[tuple[int, int, int, float]]) -> list[float]:
        """Attention of decodes and a chunk in one call over the sum of both."""
        steps: list[tuple[Sequence, ...]] = []
        apart = []
        for batch, kv, chunk, mean in points:
            prompt = _prompt(chunk, mean)
            steps.append((_decodes(batch, kv), prompt))
            alone = self._chunk.at(chunk, prompt.kv_len / chunk - 0.5)
            apart.append(self._beside.at(batch, kv) + alone)
        together = self._attention_us(steps)
        return [both / sum_ for both, sum_ in zip(together, apart, strict=True)]


def _apart(tokens: int) -> int:
    """How far apart the layers are predicted at so many tokens."""
    return next((step for most, step in _TOKEN_STEPS if tokens < most), _LAST_STEP)


def _points(most: int) -> list[int]:
    """Tokens at which the layers are predicted, up to the first that is not below `most`."""
    points = [1]
    while points[-1] < most:
        points.append(points[-1] + _apart(points[-1]))
    return points


def _chunks(times: StepTimes, max_chunk: int, max_context: int) -> LogGrid:
    """Chunks by tokens and by mean context over tokens, from prompts without a prefix on."""
    means = [0.5, 1.0, 1.5, 2.5, 5.0, 10.0, 20.0]
    while means[-1] < max_context / 8:
        means.append(4 * means[-1])
    most = 4 * max_context  # longer ones lie beyond every step that is asked about
    return LogGrid(
        [spaced(max_chunk), means],
        lambda points: times._attention_us([(_prompt(n, mean, most),) for n, mean in points]),
    )


def _prompt(chunk: int, mean: float, most: int = MAX_TOKENS) -> Sequence:
    """A chunk whose queries see so many times its own length, on average."""
    kv_len = min(round(chunk * (mean + 0.5)), most)
    return Sequence(q_len=chunk, kv_len=max(chunk, kv_len))


def _decodes(batch: int, kv: int) -> Sequence:
    return Sequence(count=batch, q_len=1, kv_len=kv)


def _coarse(first: int, most: int) -> list[int]:
    """Numbers three octaves apart, and the most."""
    points = [first]
    while points[-1] * 8 < most:
        points.append(points[-1] * 8)
    return [*points, most] if most > points[-1] else points


def _total(launches: Launches) -> float:
    return sum(la.total_us for la in launches)
