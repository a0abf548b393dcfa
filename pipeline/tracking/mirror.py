"""MLflow's model registry as a mirror of models/: a version for each champion on record, and three aliases.

models/CHAMPION and models/promotions.jsonl are the authority; whatever the registry says otherwise is set right here.
"""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipeline import paths
from pipeline.registry import contract, record
from pipeline.tracking import runs

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.models import ModelSignature

log = logging.getLogger(__name__)

MODEL = "pneumonia"
EXPERIMENT = "chest-xray-champions"
VERSION = "version"  # tag of a registered version: its name under models/champions/
ALIASES = ("champion", "previous", "challenger")
REQUIREMENTS = ["onnxruntime", "numpy"]


def publish(client: "MlflowClient") -> None:
    """Register every champion whose files are at hand and the candidate, and point the aliases as models/ says."""
    history = record.events()
    line = record.line_of_champions(history)
    folders = {event["version"]: paths.CHAMPIONS / event["version"] for event in history}
    wanted = {
        "champion": line[-1] if line else None,
        "previous": line[-2] if len(line) > 1 else None,
        "challenger": None,
    }
    if (paths.CANDIDATE / "contract.json").is_file():
        candidate = contract.read(paths.CANDIDATE)["version"]
        if candidate != wanted["champion"]:
            wanted["challenger"] = candidate
            folders.setdefault(candidate, paths.CANDIDATE)
    if not folders:
        return
    if not client.search_registered_models(f"name = '{MODEL}'"):
        client.create_registered_model(MODEL)
    registered = {entry.tags.get(VERSION): entry.version for entry in client.search_model_versions(f"name = '{MODEL}'")}
    for version, folder in folders.items():
        if version in registered:
            continue
        if (folder / "model.onnx").is_file():
            registered[version] = _register(client, version, folder)
        else:
            log.warning(
                "champion %s is not registered: models/champions/%s/model.onnx is not at hand", version, version
            )
    held = client.get_registered_model(MODEL).aliases
    for alias in ALIASES:
        number = registered.get(wanted[alias])
        if number is None:
            if alias in held:
                client.delete_registered_model_alias(MODEL, alias)
        elif held.get(alias) != number:
            client.set_registered_model_alias(MODEL, alias, number)


def _register(client: "MlflowClient", version: str, folder: Path) -> str:
    """Log a version as an MLflow model of the ONNX flavour, its contract and card beside it; return its number."""
    import mlflow.onnx
    import onnx

    terms = contract.read(folder)
    with tempfile.TemporaryDirectory() as scratch:
        model = Path(scratch) / "model"
        mlflow.onnx.save_model(
            onnx.load(folder / "model.onnx"),
            str(model),
            pip_requirements=REQUIREMENTS,
            save_as_external_data=False,
            extra_files=[str(folder / "contract.json"), str(folder / "card.md")],
            signature=_signature(terms),
            input_example=np.zeros((1, *terms["input"]["shape"][1:]), terms["input"]["dtype"]),
        )
        run_id = runs.ensure(
            client,
            runs.experiment_id(client, EXPERIMENT),
            name=version,
            key=version,
            tags={"dataset_digest": terms["dataset_digest"]},
            params={key: terms[key] for key in ("run", "network", "dataset", "edition", "precision", "prevalence")},
            metrics=[
                (f"{part}/{name}", estimate["value"], 0)
                for part, metrics in terms["figures"].items()
                for name, estimate in metrics.items()
                if not isinstance(estimate["value"], str)
            ],
            artifacts={"model": [model]},
            dataset=terms["dataset"],
        )
    source = f"{client.get_run(run_id).info.artifact_uri}/model"
    return client.create_model_version(MODEL, source, run_id, tags={VERSION: version}).version


def _signature(terms: dict[str, Any]) -> "ModelSignature":
    """What the graph takes and gives, as the contract says; MLflow's -1 is any number of images."""
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    def spec(described: dict[str, Any], name: str | None = None) -> TensorSpec:
        shape = tuple(-1 if length is None else length for length in described["shape"])
        return TensorSpec(np.dtype(described["dtype"]), shape, name)

    outputs: list[Any] = [spec(described, name) for name, described in terms["outputs"].items()]
    inputs: list[Any] = [spec(terms["input"])]
    return ModelSignature(inputs=Schema(inputs), outputs=Schema(outputs))
