"""Finds and reads models and their workloads: shipped ones by name, files by path."""

from pathlib import Path
from typing import Any

from gpusim.errors import SpecError, excerpt
from gpusim.spec.hf_config import read_config
from gpusim.spec.load import find, workload_from
from gpusim.spec.model import Model
from gpusim.spec.model_workload import AnyWorkload, ModelWorkload
from gpusim.spec.validate import validate
from gpusim.spec.workload import Workload
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


def load_any_workload(name_or_path: str | Path) -> AnyWorkload:
    """Return the workload for a shipped name or a file, of attention or of a model.

    Raises:
        SpecError: if the file is missing or does not validate.
    """
    path = find(name_or_path, "workloads")
    document = read_mapping(path)
    if _OF_MODELS & document.keys():
        return _model_workload(path, document)
    return workload_from(path, document)


def load_model_workload(name_or_path: str | Path) -> ModelWorkload:
    """Return the workload of a model for a shipped name or a file.

    Raises:
        SpecError: if the file is missing, or is no workload of a model.
    """
    path = find(name_or_path, "workloads")
    return _model_workload(path, read_mapping(path))


#: Keys that only a workload of a model has.
_OF_MODELS = ModelWorkload.model_fields.keys() - Workload.model_fields.keys() - {"sequences"}


def _model_workload(path: Path, document: dict[str, Any]) -> ModelWorkload:
    values = {"name": path.stem} | document
    model = document.get("model")
    if isinstance(model, str):
        try:
            values["model"] = load_model(path.parent / model if _beside(path, model) else model)
        except SpecError as error:
            raise SpecError(f"{path}: model: {error}") from error
    elif model is not None and not isinstance(model, dict):
        raise SpecError(
            f"{path}: model: expected a name, a file or a mapping, found {excerpt(model)}"
        )
    return validate(ModelWorkload, values, path)


def _beside(path: Path, name: str) -> bool:
    """Whether a file, or a folder with a `config.json`, lies beside the workload."""
    return _is_file(path.parent / name) or _is_file(path.parent / name / CONFIG)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
