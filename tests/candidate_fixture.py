"""Small project roots in which `package` and `promote` can run: generated images, or a candidate made by hand."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import champion_fixture
import numpy as np
import onnx
import validation_fixture
from onnx import helper

from pipeline.data.tables import write_table
from pipeline.files import sha256_of, write_json, write_text
from pipeline.registry import card, contract, validation_predictions

HOME = Path(__file__).resolve().parents[1]
RUN = "custom_cnn-raw-0"
SIDE = 96
CHILDREN = {"train": 40, "validation": 60, "test": 40}  # of each class


def write_root(root: Path, dataset: str = "phantom", seed: int = 0) -> Path:
    """Arrays, groups and settings of a tiny project; no network yet."""
    rng = np.random.default_rng(seed)
    root.mkdir(parents=True, exist_ok=True)
    shutil.copy(HOME / "params.yaml", root / "params.yaml")
    tables: dict[str, list[dict[str, object]]] = {"development": [], "test": []}
    pixels: dict[str, list[np.ndarray]] = {"development": [], "test": []}
    held_out = []
    for split, children in CHILDREN.items():
        part = "test" if split == "test" else "development"
        for label, kind, grey in (("NORMAL", "normal", 90), ("PNEUMONIA", "bacterial", 150)):
            for number in range(children):
                patient = f"{split}-{kind}-{number:03}"
                row = {"path": f"{'test' if part == 'test' else 'train'}/{label}/{patient}.jpeg", "label": label}
                if split == "validation":
                    held_out.append(row["path"])
                tables[part].append(row | {"subtype": kind, "patient": patient})
                base = rng.normal(grey, 25)
                pixels[part].append(np.clip(rng.normal(base, 30, (SIDE, SIDE)), 0, 255).astype(np.uint8))
    arrays = root / "data" / "arrays"
    arrays.mkdir(parents=True)
    for part, rows in tables.items():
        order = sorted(range(len(rows)), key=lambda place: str(rows[place]["path"]))
        tables[part] = [rows[place] for place in order]
        np.save(arrays / f"{part}.npy", np.stack([pixels[part][place] for place in order]))
        write_table(arrays / f"{part}.csv", ["path", "label", "subtype", "patient"], tables[part])
    validation = [
        {"row": place, "label": row["label"]}
        for place, row in enumerate(tables["development"])
        if row["path"] in held_out
    ]
    write_table(root / "data" / "groups" / "validation.csv", ["row", "label"], validation)
    facts = {
        "run": RUN, "network": "custom_cnn", "group": "raw", "seed": seed, "weights": "random", "backend": "tensorflow",
        "precision": "float32", "epochs": 1, "steps": 1, "parameters": 1, "training_pictures": 80, "image_size": SIDE,
        "scaling": "unit",
        "dataset": dataset, "edition": dataset, "dataset_digest": "0" * 64,
    }  # fmt: skip
    write_facts(root, facts)
    (root / "metrics").mkdir(exist_ok=True)
    (root / "metrics" / "candidate.json").write_text(json.dumps({"run": RUN, "released": {"run": RUN}}))
    return root


def write_facts(root: Path, facts: dict[str, object]) -> None:
    """The run's run.json."""
    folder = root / "predictions" / RUN
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps(facts))


def write_network(root: Path, seed: int = 0) -> None:
    """A random custom_cnn whose last layer was fitted on the training images, so that it ranks others well."""
    import keras
    from sklearn.linear_model import LogisticRegression

    from pipeline.learning.networks import head

    keras.utils.set_random_seed(seed)
    network = head.build("custom_cnn", SIDE)
    images = np.load(root / "data" / "arrays" / "development.npy")[..., None]
    rows = [line.split(",") for line in (root / "data" / "arrays" / "development.csv").read_text().splitlines()[1:]]
    chosen = [place for place, row in enumerate(rows) if row[3].startswith("train")]
    labels = np.array([rows[place][1] == "PNEUMONIA" for place in chosen])
    units = keras.Model(network.input, network.get_layer("hidden").output).predict(images[chosen], verbose=0)
    last = LogisticRegression(C=0.1, max_iter=1000).fit(units, labels)
    network.get_layer("logit").set_weights([last.coef_.T.astype("float32"), last.intercept_.astype("float32")])
    target = root / "models" / "runs" / RUN
    target.mkdir(parents=True, exist_ok=True)
    network.save_weights(target / "network.weights.h5")


def write_candidate(root: Path, auc: float = 0.99, seed: int = 0, dataset: str = "phantom", **changes: object) -> str:
    """A whole candidate without training: a tiny graph, and drawn answers of this AUC. Returns its version."""
    folder = root / "models" / "candidate"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if not (root / "params.yaml").exists():
        text = (HOME / "params.yaml").read_text(encoding="utf-8")
        write_text(root / "params.yaml", text.replace("resamples: 2000", "resamples: 200"))
    onnx.save(_not_negative(champion_fixture._graph(8.0, champion_fixture.SIDE)), folder / "model.onnx")
    np.savez(folder / "guard.npz", **champion_fixture.plain_guard())
    validation_predictions.write(folder, validation_fixture.networks(seed, auc)[0])
    estimate = {"value": auc, "low": auc - 0.01, "high": auc}
    metrics = {"auc": estimate, "sensitivity_at_sensitive": estimate, "specificity_at_sensitive": estimate}
    cells = champion_fixture.CELLS
    terms = champion_fixture.contract("", champion_fixture.SIDE) | {
        "run": f"tiny-{seed}",
        "dataset": dataset,
        "edition": dataset,
        "weights": "float32",
        "outputs": {
            "logit": {"dtype": "float32", "shape": [None]},
            "probability": {"dtype": "float32", "shape": [None]},
            "map": {"dtype": "float32", "shape": [None, cells, cells]},
        },
        "recalibration": {"intercept": 0.0, "slope": 1.0},
        "figures": {"validation": metrics, "test": metrics, "stress": {"auc": estimate}},
        "map_scale": [0.0, 1.0 + auc],  # what differs between two candidates, and with it their versions
        "trained_with": None,
        **changes,
    }
    terms["files"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
    terms["version"] = contract.version_of(terms)
    write_json(folder / "contract.json", terms)
    write_text(folder / "card.md", card.text(terms))
    return terms["version"]


def _not_negative(model: onnx.ModelProto) -> onnx.ModelProto:
    """The tiny graph with a map that shows evidence for pneumonia alone."""
    for node in model.graph.node:
        if node.output[0] == "map":
            node.output[0] = "signed"
    model.graph.node.append(helper.make_node("Relu", ["signed"], ["map"]))
    return model


def command(root: Path, module: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run `python -m module arguments` with the project's root at `root`."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=HOME,
        env={**os.environ, "PIPELINE_ROOT": str(root), "TF_CPP_MIN_LOG_LEVEL": "3", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
