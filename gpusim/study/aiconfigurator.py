"""Measured attention latencies of the package `aiconfigurator-core` (Apache-2.0), as measured rows.

A row is one framework call, captured in a CUDA graph and replayed on the same buffers: warm L2, the
KV-cache write included, clocks not locked. Rows that are not modelled are counted by reason.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, nearest, plain
from gpusim.spec.load import load_gpu
from gpusim.study.measured import MeasuredRow, attention_of

PREFIX = "aiconfigurator:"
INSTALL = "pip install 'gpusim[measurements]'"
#: GPU profile by the folder of a system.
GPUS = {"a100_sxm": "a100_sxm_80gb"} | {name: name for name in ("h100_sxm", "h200_sxm", "l40s")}
#: Implementation by framework and `kernel_source`.
KERNELS = {
    ("vllm", "vllm_flash_attn_fa2"): "vllm_flash_attn_2",
    ("vllm", "vllm_flash_attn_fa3"): "vllm_flash_attn_3",
    ("vllm", "vllm_triton_attn"): "vllm_triton",
    ("vllm", "vllm_flashinfer_fiprefill"): "flashinfer",
    ("vllm", "vllm_flashinfer_fidecode"): "flashinfer",
    ("sglang", "flash_attention"): "sglang_0_5_10_flash_attn_3",
    ("sglang", "fa3"): "sglang_flash_attn_3",
    ("sglang", "triton"): "sglang_triton",
    ("sglang", "flashinfer"): "sglang_flashinfer",
}
#: As vLLM 0.14.0 names all: FlashAttention-2, where there is no FlashAttention-3 to choose.
UNVERSIONED = ("vllm", "vllm_flash_attn")
PHASES = {"context": "prefill", "generation": "decode"}
DTYPES = {"bfloat16": "bf16", "float16": "fp16", "fp8": "fp8"}
#: Calls before timing (three, and three graph replays), and timed replays by framework.
WARM_UPS, REPLAYS = 6, {"sglang": 20, "vllm": 6}
#: Size of Llama 4's chunks, which the tables list as a window. SGLang's FlashInfer backend knows no
#: chunks: such layers have no window there and attend to everything (`collect_attn.py`).
LLAMA_4_CHUNK = 8192
#: What the tables call 192 is 192 for keys and 128 for values in SGLang's FlashAttention-3
#: calls, as in MiMo-V2: decode beyond L2 reads that many bytes.
NARROW_VALUES = {("sglang_flash_attn_3", 192): 128}
#: Cache pages that the collectors set, where not as the implementation has it.
PAGES = {"vllm": 64}


def datasets() -> list[str]:
    """Names of the datasets, `aiconfigurator:SYSTEM/FRAMEWORK`; it needs `measurements`."""
    root = data_folder()
    folders = (folder for gpu in GPUS for folder in sorted((root / gpu / "attention").glob("*")))
    return [f"{PREFIX}{folder.parts[-3]}/{folder.name}" for folder in folders]


def read_dataset(name: str) -> tuple[list[MeasuredRow], Counter[str]]:
    """Rows of a dataset in its newest version, and how many were left out by reason.

    Raises:
        SpecError: for an unknown name, or without the extra `measurements`.
    """
    root = data_folder()
    system, _, framework = name.removeprefix(PREFIX).partition("/")
    if name not in datasets():
        hint = nearest(name, datasets()) or f"; known: {', '.join(datasets())}"
        raise SpecError(f"{plain(name)}: expected a dataset{hint}")
    folder = newest(root / system / "attention" / framework)
    rows, left_out = [], Counter[str]()
    for phase in PHASES:
        file = folder / f"{phase}_attention_perf.parquet"
        for index, raw in enumerate(_read(file) if file.is_file() else ()):
            reason = _reason(raw, GPUS[system])
            if reason:
                left_out[reason] += 1
            else:
                rows.append(_row(raw, GPUS[system], phase, f"{file}: row {index + 1}"))
    return rows, left_out


def is_installed() -> bool:
    """Whether the extra `measurements` is there: the tables, and what reads them."""
    return _folder() is not None


def data_folder() -> Path:
    """The folder of the tables; the package is found, not imported.

    Raises:
        SpecError: if it is not installed.
    """
    folder = _folder()
    if folder is None:
        raise SpecError(
            "aiconfigurator: expected the packages aiconfigurator-core and pyarrow, found not both;"
            f" install them with: {INSTALL}"
        )
    return folder


def _folder() -> Path | None:
    places = getattr(find_spec("aiconfigurator_core"), "submodule_search_locations", None)
    if not places or find_spec("pyarrow") is None:
        return None
    return Path(places[0]) / "systems" / "data"


def _read(file: Path) -> Iterator[dict[str, Any]]:
    """Rows of a parquet table."""
    for batch in import_module("pyarrow.parquet").ParquetFile(file).iter_batches():
        yield from batch.to_pylist()


def newest(folder: Path) -> Path:
    """Of the folders of a framework's versions, the newest one's."""
    return max(folder.glob("*"), key=lambda path: _version(path.name))


def calls_of(framework: str) -> tuple[int, int]:
    """Calls before the first timed one, and up to the last, as a framework's rows were taken."""
    return WARM_UPS, WARM_UPS + REPLAYS[framework]


def _version(name: str) -> tuple[list[int], bool, int]:
    """A key that sorts 0.14.0 after 0.9.1, and after its release candidates.

    >>> sorted(["0.14.0", "0.9.1", "0.14.0rc2"], key=_version)
    ['0.9.1', '0.14.0rc2', '0.14.0']
    """
    release, _, candidate = name.partition("rc")
    numbers = [int(part) for part in re.findall(r"[0-9]+", release)]
    return numbers, not candidate, int(candidate) if candidate.isdigit() else 0


@cache
def _kernel(framework: str, kernel_source: str, gpu: str) -> str | None:
    """The implementation that a row's call ran; few calls stand in many rows."""
    call = framework.lower(), kernel_source
    if call == UNVERSIONED and not load_gpu(gpu).tensor.wgmma_flop_per_clock:
        return "vllm_0_14_flash_attn_2"
    return KERNELS.get(call)


def _reason(raw: Mapping[str, Any], gpu: str) -> str | None:
    """Why a row cannot be predicted, if so."""
    if _kernel(raw["framework"], raw["kernel_source"], gpu) is None:
        return f"kernel not modelled: {raw['framework']} {raw['kernel_source']}"
    if raw["beam_width"] != 1:
        return f"beam search: beam_width {raw['beam_width']}"
    if not (raw["latency"] or 0) > 0:
        return "no latency"
    types = (raw["attn_dtype"], raw["kv_cache_dtype"])
    return next((f"type not modelled: {name}" for name in types if name not in DTYPES), None)


def _row(raw: Mapping[str, Any], gpu: str, phase: str, where: str) -> MeasuredRow:
    """`step` counts the tokens in the cache before this call; `isl` the new ones a sequence."""
    new = 1 if phase == "generation" else raw["isl"]
    kernel = _kernel(raw["framework"], raw["kernel_source"], gpu) or ""
    unchunked = kernel == "sglang_flashinfer" and raw.get("window_size") == LLAMA_4_CHUNK
    values = {
        "batch": raw["batch_size"],
        "q_len": new,
        "kv_len": raw["isl"] + raw["step"],
        "q_heads": raw["num_heads"],
        "kv_heads": raw["num_key_value_heads"] or raw["num_heads"],
        "head_dim": raw["head_dim"],
        "v_head_dim": NARROW_VALUES.get((kernel, raw["head_dim"])),
        "dtype": DTYPES[raw["attn_dtype"]],
        "kv_dtype": DTYPES[raw["kv_cache_dtype"]],
        "causal": True,
        "window": None if unchunked else raw.get("window_size") or None,
        "page_size": PAGES.get(raw["framework"].lower()),
    }
    return MeasuredRow(
        gpu=gpu,
        kernel=kernel,
        phase=PHASES[phase],
        l2="warm",
        measured_us=1000 * raw["latency"],
        source=f"aiconfigurator-core, {raw['framework']} {raw['version']}",
        attention=attention_of(values, where),
        calls=calls_of(raw["framework"].lower()),
    )
