"""A sweep as text: what its file says, with the workload written out."""

import yaml

from gpusim.spec.sweep import Sweep


def sweep_text(sweep: Sweep) -> str:
    """YAML that `load_sweep` reads as the same sweep, beside the files that it names."""
    document = sweep.model_dump(mode="json")
    kept = {key: value for key, value in document.items() if value not in ("", [], {}, False)}
    return yaml.safe_dump(
        kept, sort_keys=False, default_flow_style=None, width=98, allow_unicode=True
    )
