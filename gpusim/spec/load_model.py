"""Finds and reads models: shipped ones by name, and files of two kinds by path."""

from pathlib import Path

from gpusim.spec.hf_config import read_config
from gpusim.spec.load import find
from gpusim.spec.model import Model
from gpusim.spec.validate import validate
from gpusim.spec.yaml_file import read_mapping

PRESETS = "workloads/models"
#: The file that describes a model in a Hugging Face repository.
CONFIG = "config.json"


def load_model(name_or_path: str | Path) -> Model:
    """Return the model for a shipped name or a file.

    Files are ours (YAML, as those in `workloads/models`) or Hugging Face's `config.json`; of a
    folder that has one it is read.

    Raises:
        SpecError: if there is no such model, or its file does not validate or cannot be
            represented.
    """
    path = Path(name_or_path)
    if _is_file(path / CONFIG):
        return read_config(path / CONFIG)
    path = find(name_or_path, PRESETS)
    if path.suffix == ".json":
        return read_config(path)
    return validate(Model, {"name": path.stem} | read_mapping(path), path)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
