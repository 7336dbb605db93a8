"""A workload as text: what a file says, and the defaults of what it leaves open."""

import yaml

from gpusim.spec.model_workload import AnyWorkload


def workload_text(workload: AnyWorkload) -> str:
    """YAML that `load_any_workload` reads as the same workload."""
    document = workload.model_dump(mode="json", exclude_none=True)
    document = {key: value for key, value in document.items() if value not in ("", [])}
    if "schedules" in document:
        plain = [s["name"] if len(s) == 1 else s for s in document["schedules"]]
        document["schedules"] = plain
    attention = document.get("attention")
    if attention and "sequences" in attention:  # beside it in a file
        document["sequences"] = attention.pop("sequences")
    return yaml.safe_dump(
        document, sort_keys=False, default_flow_style=None, width=98, allow_unicode=True
    )
