"""`gpusim tune`: what fits, what is found with how few runs, what is printed and exported."""

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from hypothesis import given, settings
from hypothesis import strategies as st

import gpusim
from gpusim.errors import SpecError
from gpusim.result import Result
from gpusim.schedules.occupancy import occupancy
from gpusim.spec.attention import Attention
from gpusim.spec.load_model import load_any_workload, load_model_workload
from gpusim.spec.workload import Workload
from gpusim.study.search import Candidate, Search, exhaustive_search, search
from gpusim.study.search_space import (
    BLOCK_M,
    BLOCK_N,
    NUM_WARPS,
    STAGES,
    UNTUNED,
    SearchSpace,
    search_space,
    split_counts,
)
from gpusim.study.tune import attention_of, tune_workload
from gpusim.study.tuned import Tuned

A100 = gpusim.load_gpu("a100_sxm_80gb")
H100 = gpusim.load_gpu("h100_sxm")
SMALL = """\
name: small
gpus: [a100_sxm_80gb]
attention: {q_heads: 8, kv_heads: 2, head_dim: 128}
sequences: [{q_len: 1, kv_len: 2048}]
"""


def decode(kv_len: int = 2048, **more: Any) -> Attention:
    """One token of one sequence; 8 query heads on 2."""
    shape = {"q_heads": 8, "kv_heads": 2, "head_dim": 128} | more
    return Attention.model_validate(shape | {"sequences": ({"q_len": 1, "kv_len": kv_len},)})


def prefill(length: int = 512, **more: Any) -> Attention:
    """One prompt."""
    shape = {"q_heads": 4, "kv_heads": 4, "head_dim": 64} | more
    return Attention.model_validate(shape | {"sequences": ({"q_len": length, "kv_len": length},)})


def rows_of(cli: Cli, *arguments: str) -> list[dict[str, Any]]:
    """The JSON that `gpusim tune` prints."""
    outcome = cli("tune", *arguments, "--format", "json")
    assert outcome.code == 0, outcome.err
    rows: list[dict[str, Any]] = json.loads(outcome.out)
    return rows


# -- the space --


def test_the_space_of_one_free_option_is_its_values_that_fit() -> None:
    """Q and one stage of K and V of 64x128 take 16 + 32 KiB; an A100 CTA has 163 KiB."""
    pinned = {"block_m": 64, "block_n": 64, "num_warps": 4}
    space = search_space("flash2", decode(), A100, pinned)
    assert [space.options(p)["stages"] for p in space.tiles[1:]] == list(STAGES)
    fit = [point for point in space if point != UNTUNED]
    assert [space.options(point)["stages"] for point in fit] == [1, 2, 3, 4]
    assert space.lack((None, None, None, 5, None)) == "shared memory"
    assert not space.refused


def test_tiles_that_nobody_would_build_are_counted_by_reason() -> None:
    """With 64 keys and 2 warps: rows below 32 leave a warp less than 16. A row has 64 scores and
    128 outputs, so that 64 threads have 195 registers for the accumulators of 65 rows.
    """
    pinned = {"block_n": 64, "num_warps": 2, "stages": 1}
    space = search_space("flash2", decode(), A100, pinned)
    assert [point[0] for point in space.tiles[1:]] == [32, 64]
    assert space.refused == {"a warp with less than 16 rows": 1, "accumulators that spill": 3}
    assert BLOCK_M == (16, 32, 64, 128, 192, 256)


def test_every_tile_is_offered_or_refused() -> None:
    space = search_space("flash2", prefill(), A100)
    grid = len(BLOCK_M) * len(BLOCK_N) * len(NUM_WARPS) * len(STAGES)
    assert len(space.tiles) - 1 + sum(space.refused.values()) == grid
    hopper = search_space("flash3", prefill(), H100)
    grid //= len(NUM_WARPS)
    assert len(hopper.tiles) - 1 + sum(hopper.refused.values()) == grid
    assert {"num_warps" in hopper.options(point) for point in hopper} == {False}
    assert {point[0] for point in hopper} == {None, 64, 128, 192}


def test_split_counts_change_the_blocks_of_the_fullest_split_and_fill_waves() -> None:
    """2 heads of 16 blocks; 2 CTAs an SM, 108 SMs: a wave is 108 splits, more than blocks.
    12 of 16 blocks are two each, as 8 are. Alone the heuristic takes 16.
    """
    space = search_space("flash2_split_kv", decode(), A100)
    launches = space.launches(UNTUNED)
    assert launches[0].tile["num_splits"] == 16
    counts = split_counts(launches, decode(), A100, of_keys=True)
    assert counts == (1, 2, 3, 4, 6, 8)


def test_a_wave_is_filled_whatever_its_size() -> None:
    """16 heads on 216 slots: 13 splits fill one wave, 27, 40 and 54 two, three and four."""
    attention = decode(2**17, q_heads=16, kv_heads=16)
    launches = search_space("flash2_split_kv", attention, A100).launches(UNTUNED)
    counts = split_counts(launches, attention, A100, of_keys=True)
    assert {1, 2, 4, 8, 27, 54} <= set(counts) | {launches[0].tile["num_splits"]}
    blocks = 2**17 // 128
    assert len({-(-blocks // n) for n in counts}) == len(counts)


def test_schedules_without_tiles_to_choose_have_one_point_or_splits_only() -> None:
    assert list(search_space("vllm_flash_attn_2", decode(page_size=16), A100)) == [UNTUNED]
    assert list(search_space("santa_flash", decode(), A100)) == [UNTUNED]
    space = search_space("flash1", prefill(), A100)
    assert {point[:4] for point in space} == {UNTUNED[:4]}
    assert len(list(space)) > 3


def test_what_is_given_is_not_searched() -> None:
    space = search_space("flash2_split_kv", decode(), A100, {"num_splits": 3, "stages": 1})
    assert {(point[3], point[4]) for point in space} == {(None, None)}
    assert {space.options(p)["num_splits"] for p in space} == {3}


@settings(max_examples=12, deadline=None)
@given(
    schedule=st.sampled_from(["standard", "flash2", "flash2_split_kv", "flash3", "lean"]),
    gpu=st.sampled_from(["a100_sxm_80gb", "h100_sxm", "rtx_6000_ada"]),
    head_dim=st.sampled_from([64, 96, 128, 256]),
    lengths=st.tuples(st.integers(1, 300), st.integers(0, 3000)),
    start=st.integers(0, 96),
)
def test_everything_offered_fits(
    schedule: str, gpu: str, head_dim: int, lengths: tuple[int, int], start: int
) -> None:
    machine = gpusim.load_gpu(gpu)
    sequence = {"q_len": lengths[0], "kv_len": sum(lengths)}
    attention = Attention.model_validate(
        {"q_heads": 8, "kv_heads": 2, "head_dim": head_dim, "sequences": (sequence,)}
    )
    space = search_space(schedule, attention, machine)
    for point in list(space)[start::97]:
        for launch in space.launches(point):
            assert launch.smem_bytes <= machine.sm.max_smem_per_cta_bytes
            fit = occupancy(
                machine,
                threads=launch.threads,
                registers=launch.registers,
                smem_bytes=launch.smem_bytes,
            )
            assert fit.ctas_per_sm >= 1
        options = space.options(point)
        assert gpusim.simulate(attention, machine, schedule, "analytic", **options).time_us > 0


# -- the search --


def spaces_of(attention: Attention, gpu: gpusim.Gpu, *names: str) -> list[SearchSpace]:
    """Spaces of schedules."""
    return [search_space(name, attention, gpu) for name in names]


class Counting:
    """Predicts, and counts runs and CTAs by engine."""

    def __init__(self, spaces: list[SearchSpace]) -> None:
        self.spaces = spaces
        self.runs: Counter[str] = Counter()
        self.ctas: Counter[str] = Counter()

    def __call__(self, candidates: Iterable[Candidate], engine: str) -> list[Result | Exception]:
        return [self._one(candidate, engine) for candidate in candidates]

    def _one(self, candidate: Candidate, engine: str) -> Result | Exception:
        space = self.spaces[candidate.space]
        options = space.options(candidate.point)
        try:
            result = gpusim.simulate(space.attention, space.gpu, space.schedule, engine, **options)
        except SpecError as error:
            return error
        self.runs[engine] += 1
        self.ctas[engine] += sum(launch.ctas for launch in result.launches)
        return result


@pytest.mark.parametrize(
    ("attention", "gpu", "schedules"),
    [
        (decode(384), A100, ("flash2_split_kv", "lean")),
        (decode(512, q_heads=4, head_dim=64), H100, ("flash3",)),
        (prefill(128, q_heads=2, kv_heads=2), A100, ("flash2_split_kv", "flash1")),
        (prefill(96, head_dim=96, causal=False), H100, ("flash2", "lean")),
    ],
    ids=["decode", "decode on Hopper", "prefill", "no mask"],
)
def test_a_tenth_of_the_work_finds_the_best(
    attention: Attention, gpu: gpusim.Gpu, schedules: tuple[str, ...]
) -> None:
    """`python -m validation.tuning` does ten shapes, with processor time; these are small ones."""
    spaces = spaces_of(attention, gpu, *schedules)
    every, few = Counting(spaces), Counting(spaces)
    whole, found = exhaustive_search(spaces, every), search(spaces, few)
    best, there = (s.simulate(s.ranked()[0]) for s in (found, whole))
    assert there <= best <= 1.03 * there
    assert few.runs["sim"] <= every.runs["sim"] / 10
    assert few.ctas["sim"] <= every.ctas["sim"] / 10


def test_the_best_is_never_slower_than_any_schedule_as_it_is() -> None:
    for attention, gpu in ((decode(700), H100), (prefill(130), A100), (prefill(64), H100)):
        names = ("flash1", "flash2", "flash2_split_kv", "flash3", "lean")
        spaces = spaces_of(attention, gpu, *names)
        found = search(spaces, Counting(spaces))
        best = found.simulate(found.ranked()[0])
        for name in names:
            assert best <= gpusim.simulate(attention, gpu, name).time_us


def test_the_same_search_twice_is_the_same() -> None:
    spaces = spaces_of(prefill(130), A100, "flash2", "lean")
    first, second = (search(spaces, Counting(spaces)) for _ in range(2))
    assert list(first.analytic) == list(second.analytic)
    assert list(first.simulated) == list(second.simulated)


def test_a_space_in_which_nothing_fits_is_refused() -> None:
    """Eight stages of 64 keys of 256 need 512 KiB."""
    attention = prefill(head_dim=256)
    pinned = {"block_m": 64, "block_n": 64, "num_warps": 4, "stages": 8}
    spaces = [search_space("flash2", attention, A100, pinned)]
    with pytest.raises(SpecError, match="expected a configuration that fits"):
        search(spaces, Counting(spaces))


def test_what_the_simulator_refuses_is_no_candidate() -> None:
    """Then the next ones are run; if it refuses all, that is said."""
    spaces = spaces_of(prefill(130), A100, "flash2")
    predict = Counting(spaces)
    first = search(spaces, predict).ranked()[0]

    def without(refused: set[Candidate], engine: str) -> Search:
        def some(candidates: Iterable[Candidate], by: str) -> list[Result | Exception]:
            return [
                SpecError("too much")
                if by == engine and (not refused or candidate in refused)
                else predict([candidate], by)[0]
                for candidate in candidates
            ]

        return search(spaces, some)

    found = without({first}, "sim")
    assert first not in found.ranked()
    assert found.refused["refused by sim"] == 1
    with pytest.raises(SpecError, match="expected a configuration that can be simulated"):
        without(set(), "sim").ranked()
    with pytest.raises(SpecError, match="expected a configuration that fits"):
        without(set(), "analytic")


# -- the command --


def tuned(text: str = SMALL, **options: Any) -> list[Tuned]:
    """The study of a workload file's text."""
    import yaml

    return tune_workload(Workload.model_validate(yaml.safe_load(text)), **options)


def test_rows_have_a_best_runners_up_within_3_percent_and_the_rest_as_it_is(
    cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    rows = rows_of(cli, "w.yaml", "--schedule", "flash2_split_kv", "--schedule", "lean")
    assert [row["role"] for row in rows].count("best") == 1
    assert rows[0]["role"] == "best"
    times = [row["time_us"] for row in rows]
    assert times == sorted(times)
    for row in rows:
        assert row["ratio"] == row["time_us"] / times[0]
        assert (row["ratio"] <= 1.03) == (row["role"] != "untuned")
        assert row["untuned"] == (row["options"] == {})
        assert row["limits"]["occupancy"] == row["occupancy"]["limiter"]
        assert row["limits"]["share"] == max(row["breakdown"].values())
        same = gpusim.simulate(decode(), A100, row["schedule"], **row["options"])
        assert row["time_us"] == same.time_us
        done = row["search"]
        assert done["sim"] < done["analytic"] < done["configurations"]
    assert {row["schedule"] for row in rows if row["untuned"]} == {"flash2_split_kv", "lean"}
    assert rows[0]["configuration"].keys() >= {"block_m", "block_n", "num_warps", "stages"}


def test_the_table_says_the_same(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    outcome = cli("tune", "w.yaml", "--schedule", "flash2")
    assert outcome.code == 0
    lines = outcome.out.splitlines()
    assert lines[0] == "small: a100_sxm_80gb"
    assert "flash2 as it is" in outcome.out
    assert "accumulators that spill" in lines[-1]
    assert "As it is, the fastest schedule is flash2: " in outcome.out


def test_csv_has_a_line_per_row(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    outcome = cli(
        "tune", "w.yaml", "--schedule", "flash2", "--format", "csv", "--output", "out.csv"
    )
    assert (outcome.code, outcome.out) == (0, "")
    head, first, *_ = (tmp_path / "out.csv").read_text().splitlines()
    assert head.startswith("workload,gpu,schedule,options,configuration.block_m")
    assert first.startswith("small,a100_sxm_80gb,flash2,block_m=16 ")


def test_only_exact_schedules_unless_asked(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    arguments = ("tune", "w.yaml", "--schedule", "santa_flash", "--schedule", "flash1")
    outcome = cli(*arguments, "--format", "json")
    assert {row["schedule"] for row in json.loads(outcome.out)} == {"flash1"}
    assert "left out: a100_sxm_80gb, santa_flash: sampled; --approximate includes it" in outcome.err
    outcome = cli(*arguments, "--approximate", "--format", "json")
    assert {row["schedule"] for row in json.loads(outcome.out)} == {"flash1", "santa_flash"}


def test_gpus_are_searched_apart_in_one_process_or_several() -> None:
    gpus = [A100, H100]
    alone = tuned(gpus=gpus, schedules=["flash2"])
    together = tuned(gpus=gpus, schedules=["flash2"], workers=2)
    assert alone == together
    assert [found.gpu for found in alone] == ["a100_sxm_80gb", "h100_sxm"]


def test_a_kernel_of_the_users_own_is_ranked_as_it_is() -> None:
    text = SMALL + (
        "schedules: [{name: mine, kernel: {block_m: 64, block_n: 64, num_warps: 4}},"
        " {name: flash2, stages: 2}]\n"
    )
    (found,) = tuned(text, schedules=["mine", "flash2"])
    mine = [entry for entry in found.entries if entry.result.schedule == "mine"]
    assert [entry.untuned for entry in mine] == [True]
    assert {e.configuration["stages"] for e in found.entries if e not in mine} == {2}


def test_of_a_model_the_attention_of_a_layer_is_tuned() -> None:
    """Four GPUs share 64 query and 8 KV heads."""
    workload = load_model_workload("llama3_70b_forward_prefill_tp4")
    (part,) = attention_of(workload)
    assert part.name == f"{workload.name}: attention of 80 layers"
    assert (part.attention.q_heads, part.attention.kv_heads) == (16, 2)
    assert part.attention.sequences == workload.sequences
    assert (part.gpus, part.l2, part.load) == (workload.gpus, workload.l2, workload.load)


def test_layers_with_and_without_a_window_are_tuned_apart(tmp_path: Path) -> None:
    text = "{name: g, model: %s, sequences: [{q_len: 1, kv_len: 4096}]}"
    (tmp_path / "w.yaml").write_text(text % "gemma3_27b")
    parts = attention_of(load_any_workload(tmp_path / "w.yaml"))
    assert [part.attention.window for part in parts] == [1024, None]
    assert parts[0].name.endswith("layers, window 1024")
    (tmp_path / "latent.yaml").write_text(text % "deepseek_v3")
    with pytest.raises(SpecError, match="found a latent cache"):
        attention_of(load_any_workload(tmp_path / "latent.yaml"))


def test_exhaustive_runs_everything() -> None:
    text = SMALL + "schedules: [{name: flash2, block_m: 64, block_n: 64, num_warps: 4}]\n"
    (found,) = tuned(text, schedules=["flash2"], exhaustive=True)
    assert (found.analysed, found.simulated) == (5, 5)


# -- Triton --


def test_the_exported_module_compiles_and_imports_only_triton(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    chosen = ("--schedule", "flash2", "--schedule", "flash3", "--gpu", "h100_sxm")
    outcome = cli("tune", "w.yaml", *chosen, "--export-triton", "space.py", "--output", "o.txt")
    assert outcome.code == 0, outcome.err
    text = (tmp_path / "space.py").read_text()
    assert [line for line in text.splitlines() if "import" in line.split()[:1]] == ["import triton"]
    program = (
        "import sys, types, functools\n"
        "class Config:\n"
        "    def __init__(self, kwargs, num_warps=4, num_stages=2):\n"
        "        self.kwargs, self.num_warps, self.num_stages = kwargs, num_warps, num_stages\n"
        "sys.modules['triton'] = types.SimpleNamespace(Config=Config)\n"
        "import space\n"
        "kept = list(filter(space.keep, space.configs))\n"
        "mine = list(filter(functools.partial(space.keep, schedule='flash3'), space.configs))\n"
        "assert 0 < len(mine) < len(kept) < len(space.configs), (len(mine), len(kept))\n"
        "assert not any(space.keep(c, gpu='other') for c in space.configs)\n"
        "for c in space.configs:\n"
        "    for n in (*c.kwargs.values(), c.num_warps): assert n > 0\n"
        "    for n in (c.kwargs['BLOCK_M'], c.kwargs['BLOCK_N'], c.num_warps):\n"
        "        assert n & (n - 1) == 0\n"
        "print(len(space.configs))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 100


def test_triton_builds_the_configurations(cli: Cli, tmp_path: Path) -> None:
    triton = pytest.importorskip("triton")
    (tmp_path / "w.yaml").write_text(SMALL)
    cli("tune", "w.yaml", "--schedule", "lean", "--export-triton", "space.py", "--output", "o.txt")
    space: dict[str, Any] = {}
    exec((tmp_path / "space.py").read_text(), space)
    assert all(isinstance(config, triton.Config) for config in space["configs"])
    best = space["configs"][0]
    assert space["keep"](best, within=0.0)
    assert set(best.kwargs) == {"BLOCK_M", "BLOCK_N"}


def test_the_exported_json_has_what_triton_config_takes(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    arguments = ("w.yaml", "--schedule", "flash2", "--schedule", "flash1")
    outcome = cli("tune", *arguments, "--export-triton", "space.json", "--output", "o.txt")
    assert outcome.code == 0, outcome.err
    rows = json.loads((tmp_path / "space.json").read_text())
    assert {row["schedule"] for row in rows} == {"flash2"}
    times = [row["predicted_us"] for row in rows if row["predicted_us"] is not None]
    assert times == sorted(times)
    assert rows[0]["kwargs"].keys() == {"BLOCK_M", "BLOCK_N"}
    assert rows[0].keys() >= {"num_warps", "num_stages", "gpu", "workload"}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("w.yaml", "--export-triton", "x.txt"),
            "--export-triton: expected a file with the suffix",
        ),
        (("w.yaml", "--export-triton", "no/x.py"), "--export-triton: expected an existing folder"),
        (("w.yaml", "--export-triton", "x.py", "--output", "x.py"), "another file than --output"),
        (("w.yaml", "--schedule", "falsh2"), "--schedule: expected a schedule, found 'falsh2'"),
        (("w.yaml", "--gpu", "b100"), "b100"),
        (("nothing.yaml",), "nothing.yaml"),
        (("w.yaml", "--workers", "0"), "--workers"),
        (
            ("w.yaml", "--schedule", "flash3_fp8"),
            "expected a schedule that can take it, found none",
        ),
    ],
)
def test_mistakes_are_one_line(
    arguments: tuple[str, ...], says: str, cli: Cli, tmp_path: Path
) -> None:
    (tmp_path / "w.yaml").write_text(SMALL)
    outcome = cli("tune", *arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert says in outcome.err
    assert outcome.err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} == {"w.yaml"}
