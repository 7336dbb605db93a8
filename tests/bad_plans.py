"""Bad plan files: what is wrong with each, and what the message must have."""

PLAN = """\
name: test
model: llama3_1_8b
gpus: [h100_sxm]
tensor_parallel: [1]
traffic:
  rate_per_s: 10
  prompt_tokens: {p50: 500, p90: 900}
  output_tokens: 100
  requests: 40
targets: {ttft_ms: 500, tpot_ms: 30}
serving: {max_sequences: 64}
"""
_TRAFFIC = PLAN[PLAN.index("  rate_per_s") : PLAN.index("targets")]

#: What is wrong: the text to replace in PLAN, its replacement, and what the message has.
PLANS = {
    "no model": ("model: llama3_1_8b\n", "", "model: expected a value, found none"),
    "an unknown model": ("llama3_1_8b", "llama3_8b", "model: llama3_8b: expected a model", "mean"),
    "a number for a model": ("llama3_1_8b", "8", "model: expected text, found 8"),
    "no GPUs": ("[h100_sxm]", "[]", "gpus: expected at least 1 entry"),
    "an unknown GPU": ("h100_sxm", "h100_smx", "gpus[0]: h100_smx: expected a GPU", "'h100_sxm'"),
    "a GPU twice": ("[h100_sxm]", "[h100_sxm, h100_sxm]", "gpus[1]: expected each once"),
    "a price without source": (
        "[h100_sxm]",
        "[{name: h100_sxm, usd_per_hour: 2}]",
        "gpus[0].price_source: expected a value beside usd_per_hour",
    ),
    "a price without date": (
        "[h100_sxm]",
        "[{name: h100_sxm, usd_per_hour: 2, price_source: me}]",
        "gpus[0].price_date: expected a value beside usd_per_hour",
    ),
    "a free GPU": (
        "[h100_sxm]",
        "[{name: h100_sxm, usd_per_hour: 0, price_source: me, price_date: now}]",
        "gpus[0].usd_per_hour: expected at least 1e-09, found 0",
    ),
    "a price of no day": (
        "[h100_sxm]",
        "[{name: h100_sxm, usd_per_hour: 2, price_source: me, price_date: now}]",
        "gpus[0].price_date: expected a date as 2026-11-01 or 2026-11, found 'now'",
    ),
    "a misspelt key of a GPU": (
        "[h100_sxm]",
        "[{name: h100_sxm, usd_per_huor: 2}]",
        "gpus[0].usd_per_huor: expected a known key; did you mean 'usd_per_hour'?",
    ),
    "no degree": ("[1]", "[]", "tensor_parallel: expected at least 1 entry, found none"),
    "a degree of zero": ("[1]", "[0]", "tensor_parallel[0]: expected at least 1, found 0"),
    "a degree twice": ("[1]", "[1, 2, 1]", "tensor_parallel[2]: expected each once, found 1"),
    "a degree that is text": ("[1]", "[two]", "tensor_parallel[0]: expected an integer"),
    "no traffic": ("traffic:\n" + _TRAFFIC, "", "traffic: expected a value"),
    "no rate": ("  rate_per_s: 10\n", "", "traffic.rate_per_s: expected a value (or csv)"),
    "a rate of zero": ("rate_per_s: 10", "rate_per_s: 0", "traffic.rate_per_s: expected at least"),
    "a rate that is text": (
        "rate_per_s: 10",
        "rate_per_s: '10'",
        "traffic.rate_per_s: expected a number, found '10'",
    ),
    "an infinite rate": ("rate_per_s: 10", "rate_per_s: .inf", "traffic.rate_per_s: expected"),
    "no outputs": ("  output_tokens: 100\n", "", "traffic.output_tokens: expected a value"),
    "outputs of nothing": (
        "output_tokens: 100",
        "output_tokens: {}",
        "traffic.output_tokens.p50: expected a value, or another percentile, found none",
    ),
    "outputs that are text": (
        "output_tokens: 100",
        "output_tokens: long",
        "traffic.output_tokens: expected a mapping",
    ),
    "prompts that get shorter": (
        "p90: 900",
        "p90: 400",
        "traffic.prompt_tokens.p90: expected at least that of p50 (500), found 400",
    ),
    "a percentile that is none": (
        "p90: 900",
        "p900: 900",
        "traffic.prompt_tokens.p900: expected min, max or a percentile such as p50",
    ),
    "prompts of zero": ("p50: 500", "p50: 0", "traffic.prompt_tokens.p50: expected tokens from 1"),
    "too few requests": ("requests: 40", "requests: 5", "traffic.requests: expected at least 20"),
    "a bad seed": ("requests: 40", "seed: -1", "traffic.seed: expected at least 0, found -1"),
    "other arrivals": ("requests: 40", "arrivals: bursts", "traffic.arrivals: expected 'poisson'"),
    "a file beside lengths": (
        "requests: 40",
        "csv: r.csv",
        "traffic.prompt_tokens: expected either this or csv, found both",
    ),
    "a missing file": (_TRAFFIC, "  csv: none.csv\n", "none.csv: expected a readable file"),
    "no targets": ("targets: {ttft_ms: 500, tpot_ms: 30}\n", "", "targets: expected a value"),
    "one target": (", tpot_ms: 30", "", "targets.tpot_ms: expected a value, found none"),
    "a misspelt target": ("tpot_ms", "tpot", "targets.tpot: expected a known key", "'tpot_ms'"),
    "a percentile of 100": (
        "tpot_ms: 30",
        "tpot_ms: 30, percentile: 100",
        "targets.percentile: expected at most 99.99, found 100",
    ),
    "a share of memory above 1": (
        "{max_sequences: 64}",
        "{memory_fraction: 90}",
        "serving.memory_fraction: expected at most 1.0, found 90",
    ),
    "steps with less tokens than sequences": (
        "{max_sequences: 64}",
        "{max_sequences: 64, chunk_tokens: 32}",
        "serving.chunk_tokens: expected at least max_sequences (64), found 32",
    ),
    "less than no headroom": ("serving", "headroom: -1\nserving", "headroom: expected at least 0"),
    "an unknown type": ("serving", "weight_dtype: int3\nserving", "weight_dtype: expected 'fp16'"),
    "an unknown schedule": (
        "serving",
        "schedule: vllm_flash_attn_9\nserving",
        "schedule: expected a schedule, found 'vllm_flash_attn_9'",
    ),
    "an unknown key": ("serving", "zzz: 1\nserving", "zzz: expected a known key"),
    "no mapping": (PLAN, "[1, 2]", "expected a mapping of keys"),
}
