"""A plan as text: what a file says, and the defaults of what it leaves open."""

import yaml

from gpusim.spec.plan import Plan


def plan_text(plan: Plan) -> str:
    """YAML that `load_plan` reads as the same plan."""
    document = plan.model_dump(mode="json", exclude_none=True)
    for name in ("prompt_tokens", "output_tokens"):
        lengths = getattr(plan.traffic, name)
        if lengths is not None:
            document["traffic"][name] = lengths.as_dict()
    if plan.traffic.csv is not None:
        document["traffic"].pop("requests")  # the file has them
    choices = [{key: x for key, x in gpu.items() if x != ""} for gpu in document["gpus"]]
    document["gpus"] = [gpu["name"] if len(gpu) == 1 else gpu for gpu in choices]
    return yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, width=98, allow_unicode=True
    )
