"""What a sweep file says: values, conditions, what-if profiles, and the points that they make."""

from pathlib import Path
from typing import Any

import pytest
from conftest import Cli
from test_schema import accepts

from gpusim.errors import SpecError
from gpusim.spec.axis_values import expand
from gpusim.spec.expression import Expression
from gpusim.spec.fields import flatten, nested, steps
from gpusim.spec.load import load_gpu, shipped
from gpusim.spec.provenance import Kind
from gpusim.spec.schema import file_schema
from gpusim.spec.sweep import FOLDER, Sweep, load_sweep
from gpusim.spec.what_if import changed_fields, numbers_of, what_if
from gpusim.spec.yaml_file import read_mapping
from gpusim.study.sweep_build import build_plan
from gpusim.study.sweep_plan import Plan, Point, plan_of

BASE: dict[str, Any] = {
    "name": "base",
    "gpus": ["l40s"],
    "schedules": ["flash2"],
    "attention": {"q_heads": 8, "kv_heads": 2, "head_dim": 64},
    "sequences": [{"count": 2, "q_len": 1, "kv_len": 512}],
}
SWEEP = """\
workload:
  gpus: [l40s]
  schedules: [flash2]
  attention: {q_heads: 8, kv_heads: 2, head_dim: 64}
  sequences: [{count: 2, q_len: 1, kv_len: 512}]
product:
  sequences[0].count: [1, 2]
"""


def plan(**parts: Any) -> Plan:
    """The plan of a sweep over the base."""
    return build_plan(Sweep.model_validate({"workload": BASE} | parts))


def points(made: Plan) -> list[Point]:
    """Those that run, in their order."""
    return [point for i in range(made.size) if (point := made.point(i)) is not None]


def swept(made: Plan, *fields: str) -> list[tuple[Any, ...]]:
    """Some fields of every point."""
    return [tuple(point.fields.get(field) for field in fields) for point in points(made)]


@pytest.mark.parametrize(
    ("given", "values"),
    [
        ([1, "a", None], (1, "a", None)),
        ({"from": 1, "to": 7, "step": 3}, (1, 4, 7)),
        ({"from": 1, "to": 8, "step": 3}, (1, 4, 7)),
        ({"from": 0.1, "to": 0.3, "step": 0.1}, (0.1, 0.2, 0.3)),
        ({"from": 0, "to": 10, "points": 3}, (0, 5, 10)),
        ({"from": 0, "to": 1, "points": 5}, (0, 1)),  # whole numbers, each once
        ({"from": 0.0, "to": 1, "points": 5}, (0.0, 0.25, 0.5, 0.75, 1.0)),
        ({"from": 128, "to": 1024, "points": 4, "scale": "log"}, (128, 256, 512, 1024)),
        # 100 · 10^(1/2) = 316.2 and 10^(1/4) steps: 177.8, 562.3
        ({"from": 100, "to": 1000, "points": 5, "scale": "log"}, (100, 178, 316, 562, 1000)),
        (
            {"from": 100, "to": 1000, "points": 5, "scale": "log", "multiple_of": 16},
            (96, 176, 320, 560, 1008),
        ),
        ({"times": [1, 2]}, ({"times": 1}, {"times": 2})),
        ({"times": {"from": 1, "to": 2, "step": 1}}, ({"times": 1}, {"times": 2})),
    ],
)
def test_values_are_lists_ranges_and_factors(given: Any, values: tuple[Any, ...]) -> None:
    assert expand(given, "x") == values


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ([], "x: expected at least 1 value, found []"),
        (5, "x: expected a list, {from, to, step} or {from, to, points}, found 5"),
        ({"from": 1}, "x.to: expected a value, found none"),
        ({"from": 1, "to": 2}, "x.step: expected either step or points"),
        ({"from": 1, "to": 2, "step": 1, "points": 2}, "x.step: expected either"),
        ({"from": 2, "to": 1, "step": 1}, "x.to: expected at least from (2), found 1"),
        ({"from": 1, "to": 2, "step": 0}, "x.step: expected more than 0, found 0"),
        ({"from": 0, "to": 2, "points": 3, "scale": "log"}, "x.from: expected more than 0"),
        ({"from": 1, "to": 2, "step": 1, "scale": "log"}, "x.step: expected points"),
        ({"from": 0, "to": 1e12, "step": 1}, "x.step: expected at most 100000 values"),
        ({"from": 1, "to": 2, "pionts": 2}, "x.pionts: expected a known key; did you mean"),
        ({"from": 1, "to": "many", "step": 1}, "x.to: expected an integer or a number"),
        ({"times": ["much"]}, "x.times: expected numbers, found 'much'"),
    ],
)
def test_values_are_refused_for(given: Any, message: str) -> None:
    with pytest.raises(SpecError) as refused:
        expand(given, "x")
    assert message in str(refused.value)


def test_a_document_is_the_same_after_a_round_trip_through_fields() -> None:
    document = {"a": {"b": 1, "c": None}, "s": [{"k": 1}, {"k": 2, "l": [3, 4]}], "e": [], "t": "x"}
    assert nested(flatten(document)) == document
    assert flatten(document)["s[1].l"] == [3, 4]


@pytest.mark.parametrize("field", ["", ".a", "a.", "a..b", "[0].a", "a[x]", "a[0", "a]0["])
def test_a_field_is_refused_that_is_not_written_like_one(field: str) -> None:
    with pytest.raises(ValueError, match="expected a field such as"):
        steps(field)


FIELDS = {"a": 4, "s[0].q": 3, "s[0].kv": 8, "gpu": "l40s", "none": None, "on": True}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a == 4 and s[0].q <= s[0].kv", True),
        ("a < 4 or not on", False),
        ("1 < s[0].q < 8", True),
        ("gpu in ('l40s', 'h100_sxm')", True),
        ("gpu not in ['l40s']", False),
        ("none == null", True),
        ("missing == null", True),
        ("on == true", True),
        ("s[0].kv / 4", 2),
        ("s[0].kv / 3 > 2.6", True),
        ("s[0].kv % s[0].q", 2),
        ("-(a // 3)", -1),
        ("max(a, s[0].kv) + min(1, 2) + ceil(1.5) + floor(1.5) + round(2.6) + abs(-1)", 16),
        (64, 64),
    ],
)
def test_a_condition_is_worked_out(text: str | float, value: Any) -> None:
    found = Expression(text).value(FIELDS.get)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "a.__class__()",
        "open('x')",
        "lambda: 1",
        "[x for x in (1, 2)]",
        "a ** 9",
        "a if on else 1",
        "f'{a}'",
        "a[s]",
        "(1).real",
        "a = 1",
        "a <",
        "max(*a)",
        "a" * 2000,
        "(" * 500 + ")" * 500,
    ],
)
def test_nothing_else_is_read_as_a_condition(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        Expression(text)


@pytest.mark.parametrize("text", ["gpu * 9", "none < 1", "1 / (a - 4)", "a * 'x'", "10000 < gpu"])
def test_a_condition_without_a_value_says_so(text: str) -> None:
    with pytest.raises(ValueError, match=r"\: "):
        Expression(text).value(FIELDS.get)


def test_products_vary_the_last_field_fastest_and_zips_together() -> None:
    made = plan(
        product={"l2": ["cold", "warm"], "sequences[0].kv_len": [64, 128]},
        zip=[{"attention.head_dim": [64, 128], "attention.kv_heads": [8, 4]}],
    )
    found = swept(made, "l2", "sequences[0].kv_len", "attention.head_dim", "attention.kv_heads")
    assert found == [
        (l2, kv_len, head_dim, kv_heads)
        for l2 in ("cold", "warm")
        for kv_len in (64, 128)
        for head_dim, kv_heads in ((64, 8), (128, 4))
    ]
    assert [point.index for point in points(made)] == list(range(8))


def test_the_workload_names_gpus_and_schedules_where_the_sweep_does_not() -> None:
    base = BASE | {"gpus": ["l40s", "h100_sxm"], "schedules": ["flash2", {"name": "lean"}]}
    made = build_plan(Sweep(workload=base))
    assert swept(made, "gpu", "schedule") == [
        ("l40s", "flash2"),
        ("l40s", "lean"),
        ("h100_sxm", "flash2"),
        ("h100_sxm", "lean"),
    ]


def test_conditions_leave_out_points_but_not_their_numbers() -> None:
    made = plan(
        product={"sequences[0].q_len": [1, 256], "sequences[0].kv_len": [128, 512]},
        where=["sequences[0].q_len <= sequences[0].kv_len"],
    )
    assert [point.index for point in points(made)] == [0, 1, 3]


def test_derived_fields_follow_others() -> None:
    made = plan(
        product={"attention.q_heads": [8, 32]},
        derived={
            "attention.kv_heads": "attention.q_heads / 4",
            "sequences[0].kv_len": "64 * attention.kv_heads",
        },
    )
    assert swept(made, "attention.kv_heads", "sequences[0].kv_len") == [(2, 128), (8, 512)]


def test_a_schedule_brings_its_options_and_takes_those_of_others_away() -> None:
    choices = [{"name": "flash2", "block_m": 64}, "flash2_split_kv"]
    made = plan(product={"schedule": choices})
    assert swept(made, "schedule", "schedule.block_m") == [
        ("flash2", 64),
        ("flash2_split_kv", None),
    ]
    made = plan(product={"schedule.num_splits": [None, 2], "schedule": choices})
    assert swept(made, "schedule", "schedule.block_m", "schedule.num_splits") == [
        ("flash2", 64, None),
        ("flash2_split_kv", None, None),
        ("flash2", 64, 2),
        ("flash2_split_kv", None, 2),
    ]


def test_whole_batches_vary_and_single_lengths_in_them() -> None:
    batches = [[{"q_len": 1, "kv_len": 64}], [{"q_len": 1, "kv_len": 8}, {"q_len": 1, "kv_len": 9}]]
    made = plan(product={"sequences": batches, "sequences[0].kv_len": [32, 33]})
    fields = ("sequences[0].count", "sequences[0].kv_len", "sequences[1].kv_len")
    assert swept(made, *fields) == [
        (None, 32, None),
        (None, 33, None),
        (None, 32, 9),
        (None, 33, 9),
    ]


def test_an_entry_behind_the_end_of_a_list_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a list with all entries before it"):
        nested({"sequences[0].q_len": 1, "sequences[2].q_len": 1})
    with pytest.raises(ValueError, match=r"l2\.x: expected a list"):
        nested({"l2": "cold", "l2.x": 1})


def test_a_swept_number_of_a_profile_is_a_what_if() -> None:
    made = plan(
        product={
            "gpu": ["l40s", "h100_sxm"],
            "gpu.l2.capacity_mib": [None, 10, {"times": 2}, {"from": "a100_sxm_80gb"}],
        }
    )
    assert swept(made, "gpu", "gpu.l2.capacity_mib") == [
        ("l40s", 96.0),
        ("l40s", 10.0),
        ("l40s", 192.0),
        ("l40s", 40.0),
        ("h100_sxm", 50.0),
        ("h100_sxm", 10.0),
        ("h100_sxm", 100.0),
        ("h100_sxm", 40.0),
    ]
    changed = points(made)[6].gpu
    assert changed is not None
    origin = changed.provenance["l2.capacity_mib"]
    assert (origin.kind, origin.source) == (
        Kind.ESTIMATED,
        "what if: 100 in place of 50 of h100_sxm",
    )
    assert len({point.profile for point in points(made)}) == 8


def test_named_what_ifs_extend_profiles_and_one_another() -> None:
    profiles = {
        "more": {"extends": "h100_sxm", "sm": {"count": {"times": 1.5}}},
        "most": {"extends": "more", "hbm": {"from": "h200_sxm"}, "l2.capacity_mib": 200},
    }
    made = plan(profiles=profiles, product={"gpu": ["h100_sxm", "more", "most"]})
    h100, h200 = load_gpu("h100_sxm"), load_gpu("h200_sxm")
    most = made.gpus["most"]
    assert (most.name, most.sm.count, most.hbm) == ("most", 198, h200.hbm)
    assert most.l2 == h100.l2.model_copy(update={"capacity_mib": 200.0})
    assert most.clock == h100.clock
    fields = ("gpu.sm.count", "gpu.hbm.capacity_gb", "gpu.l2.capacity_mib")
    own, other = h100.hbm.capacity_gb, h200.hbm.capacity_gb
    assert swept(made, *fields) == [(132, own, 50), (198, own, 50), (198, other, 200)]
    assert own != other


def test_a_condition_may_ask_for_any_number_of_the_profile() -> None:
    made = plan(product={"gpu": ["l40s", "h100_sxm"]}, where=["gpu.sm.count < 140"])
    assert swept(made, "gpu") == [("h100_sxm",)]


def test_a_derived_number_of_a_profile_follows_a_swept_one() -> None:
    made = plan(
        product={"gpu.l2.capacity_mib": [96, 192]},
        derived={"gpu.l2.miss_mib": "gpu.l2.capacity_mib * 1.25"},
    )
    gpus = [point.gpu for point in points(made)]
    assert [gpu.l2.miss_mib for gpu in gpus if gpu is not None] == [120.0, 240.0]


def test_a_number_that_a_field_cannot_have_costs_its_points_alone() -> None:
    made = plan(product={"gpu.l2.hit_mib": [{"times": 1}, {"times": 100}]})
    good, bad = points(made)
    assert good.error == ""
    assert "l40s: l2.miss_mib: expected more than hit_mib" in bad.error


def test_a_plan_is_the_same_after_it_travelled_as_text() -> None:
    made = plan(
        profiles={"more": {"extends": "h100_sxm", "sm": {"count": {"times": 1.5}}}},
        product={"gpu": ["more", "l40s"], "schedule": [{"name": "flash2", "block_m": 64}, "lean"]},
        where=["gpu.sm.count > 100"],
        derived={"attention.kv_heads": "attention.q_heads"},
    )
    again = plan_of(made.text())
    assert again.digest == made.digest
    assert [again.point(i) for i in range(made.size)] == [made.point(i) for i in range(made.size)]


def test_a_model_is_not_computed_as_its_file_is_read_beforehand() -> None:
    base = {key: value for key, value in BASE.items() if key != "attention"}
    swept = Sweep(workload=base | {"model": "llama3_1_8b"}, derived={"model": "'llama3_1_70b'"})
    with pytest.raises(SpecError, match=r"derived\.model: expected it in product or zip"):
        build_plan(swept)


def test_the_digest_of_a_sweep_says_what_its_rows_depend_on() -> None:
    same = [plan(), plan(name="other", description="other")]
    other = [plan(product={"l2": ["warm"]}), plan(engine="analytic"), plan(where=["1 < 2"])]
    base = BASE | {"sequences": [{"count": 2, "q_len": 1, "kv_len": 513}]}
    other.append(build_plan(Sweep(workload=base)))
    # the second formula sees what the first one has computed
    formulas = {"attention.kv_heads": "attention.q_heads / 2", "attention.q_heads": "16"}
    other.append(plan(derived=formulas))
    other.append(plan(derived=dict(reversed(formulas.items()))))
    assert len({made.digest for made in same}) == 1
    assert len({made.digest for made in (*same, *other)}) == 1 + len(other)


def test_points_are_made_one_by_one_however_many_there_are() -> None:
    many = {"from": 1, "to": 1000, "step": 1}
    lengths = [f"sequences[0].{name}" for name in ("count", "q_len", "kv_len")]
    made = plan(product=dict.fromkeys(lengths, many))
    assert made.size == 10**9
    point = made.point(123_456_789)
    assert point is not None
    assert [point.fields[name] for name in lengths] == [124, 457, 790]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("product:", "prodcut:", " prodcut: expected a known key; did you mean 'product'?"),
        ("workload:", "worlkoad:", " worlkoad: expected a known key; did you mean 'workload'?"),
        ("product:", "engine: smi\nproduct:", " engine: expected 'sim' or 'analytic', found 'smi'"),
        ("sequences[0].count: [1, 2]", "gpu: l40s", "product.gpu: expected a list"),
        ("sequences[0].count: [1, 2]", "gpu: [l40]", " gpu: l40: expected a GPU name or a file"),
        ("sequences[0].count: [1, 2]", "gpu: [5]", " gpu: expected a GPU name or a file, found 5"),
        ("sequences[0].count: [1, 2]", "schedule: [falsh2]", "schedule: expected a schedule"),
        ("sequences[0].count: [1, 2]", "schedule: [5]", "schedule: expected a name, or a mapping"),
        (
            "sequences[0].count: [1, 2]",
            "schedule: [{name: flash2, blockm: 64}]",
            "schedule.blockm: expected an option of the schedule; did you mean 'block_m'?",
        ),
        (
            "sequences[0].count",
            "schedule.blockm",
            "schedule.blockm: expected an option of a schedule; did you mean 'block_m'?",
        ),
        ("[0].count", "[0].cuont", "expected a field, found cuont; did you mean 'count'?"),
        ("sequences[0].count", "attention.heads", "expected a field, found heads"),
        ("sequences[0].count", "sequences[0", "expected a field such as sequences[0].kv_len"),
        ("sequences[0].count", "gpus", "expected a field, found gpus; did you mean 'gpu'?"),
        ("sequences[0].count", "gpu.l2", "gpu.l2: expected a number, found a section; try gpu.l2."),
        (
            "sequences[0].count",
            "gpu.l2.capacity_mb",
            "gpu.l2.capacity_mb: expected a number of the profile l40s; did you mean 'l2.",
        ),
        (
            "sequences[0].count: [1, 2]",
            "gpu.l2.capacity_mib: [{form: l40s}]\n  engine: [analytic]\nwhere: [gpu.zzz == 1]",
            "where[0]: gpu.zzz: expected a number of the profile l40s",
        ),
        ("q_heads: 8", "q_hedas: 8", "workload: expected a field, found q_hedas; did you mean"),
        ("  gpus: [l40s]\n", "", "product.gpu: expected values, or gpus in the workload"),
        ("product:", "where: [q_len <]\nproduct:", "where[0]: expected a condition such as"),
        ("product:", "where: [q_len < 5]\nproduct:", "where[0]: q_len: expected a field"),
        (
            "product:",
            "derived: {attention.q_heads: exec(1)}\nproduct:",
            "derived.attention.q_heads: expected one of the functions",
        ),
        (
            "product:",
            "derived: {gpu: \"'h100_sxm'\"}\nproduct:",
            "derived.gpu: expected it in product or zip, not computed",
        ),
        ("product:", "product:\n  gpu: ['']", "gpu: expected a GPU name or a file, found ''"),
        ("product:", "product:\n  gpu[0]: [l40s]", "product.gpu[0]: expected gpu, found gpu[0]"),
        ("product:", "product:\n  engine.x: [1]", "product.engine.x: expected engine, found"),
        ("product:", "zip: [{l2: [cold, warm], load: [steady]}]\nproduct:", "zip[0]: expected"),
        (
            "product:",
            "zip: [{l2: [cold]}, {l2: [warm]}]\nproduct:",
            "zip[1].l2: expected each field once, found it in zip[0].l2 too",
        ),
        (
            "product:",
            "derived: {l2: 1}\nzip: [{l2: [cold]}]\nproduct:",
            "zip[0].l2: expected each field once, found it in derived too",
        ),
        (
            "product:",
            "profiles: {l40s: {extends: l40s}}\nproduct:",
            "profiles.l40s: expected a name of its own",
        ),
        (
            "product:",
            "profiles: {x: {l2.hit_mib: 5}}\nproduct:",
            "profiles.x.extends: expected a GPU name or a file, found null",
        ),
        (
            "product:",
            "profiles: {x: {extends: l40s, l2: {hit_mb: 5}}}\nproduct:",
            "profiles.x: l2.hit_mb: expected a number of the profile l40s; did you mean",
        ),
        (
            "product:",
            "profiles: {x: {extends: l40s, l2: 5}}\nproduct:",
            "profiles.x: l2: expected {from: GPU} for a section, found 5",
        ),
        (
            "product:",
            "profiles: {x: {extends: l40s, sm.count: {times: 0.3}}}\nproduct:",
            "profiles.x: l40s: sm.count: expected an integer, found 42.6",
        ),
        (
            "product:",
            "zip: [{}]\nproduct:",
            "zip[0]: expected fields with equally many values, found none",
        ),
        ("workload:", "workload: nowhere\nx:", "workload: nowhere: expected a workload name"),
        ("workload:", "workload: [1]\nx:", "workload: expected a name, a file or a mapping"),
    ],
)
def test_a_sweep_is_refused_for(old: str, new: str, message: str, cli: Cli, tmp_path: Path) -> None:
    assert old in SWEEP
    (tmp_path / "sweep.yaml").write_text(SWEEP.replace(old, new, 1))
    outcome = cli("sweep", "sweep.yaml", "--output", "rows.csv", "--workers", "1")
    assert (outcome.code, outcome.out) == (2, "")
    assert len(outcome.err.splitlines()) == 1
    assert "sweep.yaml: " in outcome.err
    assert message in outcome.err
    assert [path.name for path in tmp_path.iterdir()] == ["sweep.yaml"]


def test_files_are_looked_for_beside_the_sweep(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: l40s\nname: mine\n")
    (tmp_path / "work.yaml").write_text(
        "gpus: [mine.yaml]\nschedules: [flash2]\n"
        "attention: {q_heads: 8, kv_heads: 8, head_dim: 64}\n"
        "sequences: [{q_len: 1, kv_len: 128}]\n"
    )
    file = tmp_path / "sweep.yaml"
    file.write_text("workload: work.yaml\n")
    made = build_plan(load_sweep(file), file)
    assert made.gpus["mine.yaml"].name == "mine"
    assert made.base["workload"] == "work"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("attention.q_heads", "expected a field, found attention"),
        (
            "tensor_paralel",
            "expected a field, found tensor_paralel; did you mean 'tensor_parallel'",
        ),
        ("model.layers[0].cuont", "expected a field, found cuont; did you mean 'count'?"),
    ],
)
def test_a_sweep_over_a_model_has_the_fields_of_models(field: str, message: str) -> None:
    parts = {"workload": {"name": "step", "gpus": ["l40s"], "schedules": ["flash2"]}}
    with pytest.raises(SpecError) as refused:
        plan(**parts, product={"model": ["llama3_1_8b"], field: [1]})
    assert message in str(refused.value)
    with pytest.raises(SpecError, match="model: lama: expected a model name or a file"):
        plan(**parts, product={"model": ["lama"]})


def test_changes_are_nested_or_dotted() -> None:
    found = changed_fields({"l2": {"hit_mib": 1, "miss_mib": {"times": 2}}, "hbm": {"from": "x"}})
    assert found == {"l2.hit_mib": 1, "l2.miss_mib": {"times": 2}, "hbm": {"from": "x"}}


def test_what_is_taken_from_another_profile_is_what_both_have() -> None:
    a100, h100 = load_gpu("a100_sxm_80gb"), load_gpu("h100_sxm")
    found = numbers_of(a100, "tensor", {"from": "h100_sxm"}, load_gpu)
    assert "tensor.mma_sync_flop_per_clock.fp8" not in found
    changed = what_if(a100, found)
    assert (
        changed.tensor.mma_sync_flop_per_clock["bf16"]
        == (h100.tensor.mma_sync_flop_per_clock["bf16"])
    )


@pytest.mark.parametrize("name", shipped(FOLDER))
def test_every_shipped_sweep_can_be_planned_and_its_schema_accepts_it(name: str) -> None:
    made = build_plan(load_sweep(name))
    first = next(point for i in range(made.size) if (point := made.point(i)) is not None)
    assert first.error == ""
    assert accepts(file_schema("sweep"), read_mapping(shipped(FOLDER)[name]))


def test_the_sweep_of_every_gpu_has_the_size_that_it_says() -> None:
    made = build_plan(load_sweep("all_gpus"))
    assert made.size == 8 * 6 * 2000
    assert build_plan(load_sweep("simulated_shapes")).size == 2000


@pytest.mark.parametrize("change", [{"product": {"l2": 5}}, {"zip": {}}, {"engine": "x"}, {"x": 1}])
def test_the_schema_refuses(change: dict[str, Any]) -> None:
    document = read_mapping(shipped(FOLDER)["l2_what_if"])
    assert not accepts(file_schema("sweep"), document | change)


def test_the_sweep_of_the_readme_can_be_planned(tmp_path: Path) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
    block = text.partition("## Sweeps")[2].partition("```yaml\n")[2].partition("```")[0]
    (tmp_path / "readme.yaml").write_text(block)
    made = build_plan(load_sweep(tmp_path / "readme.yaml"))
    assert made.size == 3 * 2 * 2 * 15 * 2
    assert {point.error for point in points(made)} == {""}
