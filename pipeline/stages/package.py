"""Export the candidate as one graph, and measure what ships: recalibration, operating points, figures, map scale."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from pipeline import paths
from pipeline import settings as all_settings
from pipeline.command import run
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, run_metrics
from pipeline.evaluation.predictions import Predictions, Split
from pipeline.files import atomic_folder, sha256_of, write_json, write_text
from pipeline.inference import PRECISION, Graph
from pipeline.input_check import fit, guard
from pipeline.registry import contract, validation_predictions
from pipeline.robustness.families import TRAINED
from pipeline.settings import Settings

log = logging.getLogger(__name__)

NAME = "pneumonia-in-childrens-chest-xrays"


def main() -> None:
    """Write models/candidate/: the graph, its contract and card, and its answers to the validation pictures."""
    settings = all_settings.load()
    name = _candidate()
    facts = _json(paths.predictions(name) / "run.json")
    with atomic_folder(paths.CANDIDATE) as folder:
        model = _export(name, facts, settings.package.weights)
        graph = _load(folder / "model.onnx", model, 0.0, 1.0)
        rows = _validation_rows()
        development = np.load(paths.array("development"), mmap_mode="r")
        held_out = [row for row, _ in rows]
        pixels = development[held_out]
        plain = graph.answer(pixels, "validation").logits
        labels = np.array([row["label"] == "PNEUMONIA" for _, row in rows])
        fitted = calibration.fit(labels, plain)
        if fitted is None:
            log.warning("no recalibration: the logits separate the classes, or are constant, on validation")
        used = fitted or calibration.Recalibration(0.0, 1.0)
        graph = _load(folder / "model.onnx", model, used.intercept, used.slope)

        validation = graph.answer(pixels, "validation")
        stress = {change: graph.answer(function(pixels), change).logits for change, function in TRAINED.changes.items()}
        test_rows, test_pixels = read_table(paths.index("test")), np.load(paths.array("test"), mmap_mode="r")
        test = graph.answer(test_pixels, "test")
        answered = Predictions(
            name=name,
            facts=facts,
            validation=_split([row for _, row in rows], validation.logits),
            test=_split(test_rows, test.logits),
            stress=stress,
            history={key: np.array([]) for key in ("epoch", "accuracy", "val_accuracy")},
        )
        validation_predictions.write(folder, validation_predictions.Validation(answered.validation, stress))
        validation_predictions.write_unseen(folder, graph, pixels)
        training = np.delete(development, held_out, axis=0)
        promise = {
            "name": NAME,
            "dataset": facts["dataset"],
            "edition": facts["edition"],
            "dataset_digest": facts["dataset_digest"],
            "run": name,
            "network": facts["network"],
            "weights": settings.package.weights,
            "precision": PRECISION,
            "input": {"name": "pixels", "dtype": "uint8", "shape": [None, *pixels.shape[1:], 1], "range": [0, 255]},
            "outputs": {
                "logit": {"dtype": "float32", "shape": [None]},
                "probability": {"dtype": "float32", "shape": [None], "range": [0, 1]},
                "map": {"dtype": "float32", "shape": [None, *validation.maps.shape[1:]], "unit": "logit"},
            },
            "recalibration": {
                "intercept": used.intercept,
                "slope": used.slope,
                "fitted_on": "validation" if fitted else None,
            },
            "prevalence": float(labels.mean()),
            "map_scale": _map_scale(validation.maps),
            **_measured(answered, validation.probabilities, settings),
            "guard": _guard(folder / "guard.npz", training, pixels, test_pixels, answered.test, settings),
            "format": contract.FORMAT,
            "trained_with": _environment(name),
            "intended_use": contract.INTENDED_USE,
            "changelog": settings.package.changelog,
        }
        promise["files"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        promise["version"] = contract.version_of(promise)
        write_json(folder / "contract.json", promise)
        write_text(folder / "card.md", contract.card(promise))
        broken = contract.check(folder)
        if broken:
            raise ProjectError(f"the candidate breaks its contract: {'; '.join(broken)}")
    log.info("candidate %s: %.1f MB", promise["version"], (paths.CANDIDATE / "model.onnx").stat().st_size / 1e6)


def _candidate() -> str:
    """The run that `compare` chose among those that may be released."""
    released = _json(paths.METRICS / "candidate.json").get("released")
    if not released:
        raise ProjectError("metrics/candidate.json: no run may be released (params.yaml: compare.release)")
    return str(released["run"])


def _environment(name: str) -> dict[str, Any] | None:
    """With what the run was trained; None for runs that are older than this file."""
    path = paths.predictions(name) / "environment.json"
    return _json(path) if path.exists() else None


def _export(name: str, facts: dict[str, Any], weights: Any) -> onnx.ModelProto:
    """The run's network as a graph without its probability: from its weights, else from the champion that it became."""
    path = paths.network(name)
    if not path.is_file():
        return _shipped(name, weights)
    from pipeline.learning import export  # Keras: 12 s
    from pipeline.learning.networks import head

    network = head.build(facts["network"], facts["image_size"], facts["scaling"])
    try:
        network.load_weights(path)
    except (OSError, ValueError, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise ProjectError(f"models/runs/{name}/{path.name} holds no weights of {facts['network']}: {reason}") from None
    return export.to_onnx(network, weights)


def _shipped(name: str, weights: Any) -> onnx.ModelProto:
    """The graph of a champion that this run became, without its probability.

    Raises:
        ProjectError: no champion is of this run, with weights stored so.
    """
    from pipeline.learning.export import uncalibrate

    folder = contract.champion_of(name)
    if folder is not None and contract.read(folder)["weights"] == weights:
        log.info("models/runs/%s is not here: its graph is that of the champion %s", name, folder.name)
        return uncalibrate(onnx.load(folder / "model.onnx"))
    raise ProjectError(
        f"models/runs/{name} is not here, and no champion is of this run: `dvc pull train@{name}`, or train it again"
    )


def _load(path: Path, model: onnx.ModelProto, intercept: float, slope: float) -> Graph:
    from pipeline.learning.export import calibrate

    path.write_bytes(calibrate(model, intercept, slope).SerializeToString(deterministic=True))
    return Graph(path)


def _validation_rows() -> list[tuple[int, dict[str, str]]]:
    """The validation pictures in path order: row of the development array, and the manifest's row."""
    index = read_table(paths.index("development"))
    rows = [int(line["row"]) for line in read_table(paths.group("validation"))]
    return sorted(((row, index[row]) for row in rows), key=lambda pair: pair[1]["path"])


def _split(rows: list[dict[str, str]], logits: np.ndarray) -> Split:
    return Split(
        paths=[row["path"] for row in rows],
        labels=np.array([row["label"] == "PNEUMONIA" for row in rows], dtype=bool),
        subtypes=[row["subtype"] for row in rows],
        patients=[row["patient"] for row in rows],
        logits=logits,
    )


def _measured(run: Predictions, probabilities: np.ndarray, settings: Settings) -> dict[str, Any]:
    """Operating points on the probability, and every figure with its interval, of what ships."""
    samples = run_metrics.draw(run, settings.evaluate)
    figures, facts = run_metrics.measure(run, samples, settings.evaluate)
    flat = run_metrics.summary(run, figures, facts)
    points = {}
    for point, bound in (("sensitive", settings.evaluate.sensitive), ("specific", settings.evaluate.specific)):
        cut = facts[f"threshold_{point}_logit"]
        if cut is None:
            raise ProjectError(f"no threshold of run {run.name} is {point} enough on validation; it cannot be packaged")
        # A hair below the picture's own probability, so that another processor's rounding does not drop that picture.
        own = float(probabilities[np.argmin(np.abs(run.validation.logits - cut))])
        points[point] = {"threshold": own * (1 - 1e-6), "bound": bound, "fixed_on": "validation patients"}
    nested: dict[str, dict[str, Any]] = {"validation": {}, "test": {}, "stress": {}}
    for key in figures:
        part, _, figure = key.partition("_")
        if part in nested:
            nested[part][figure] = {"value": flat[key], "low": flat[f"{key}_low"], "high": flat[f"{key}_high"]}
    return {"operating_points": points, "figures": nested}


def _guard(
    path: Path, training: np.ndarray, validation: np.ndarray, test: np.ndarray, asked: Split, settings: Settings
) -> dict[str, Any]:
    """Fit the input guard, write it, and say whom it turns away."""
    seed = settings.evaluate.seed
    fitted = fit.calibrate(fit.fit(training, seed), validation)
    np.savez(path, allow_pickle=False, **fitted)
    refused = guard.scores(fitted, test) > fitted["threshold"]
    sample = bootstrap.draw(asked.labels, asked.patients, settings.evaluate.resamples, seed)
    shares = bootstrap.divide(sample.totals(refused), sample.totals(np.ones(len(refused))))
    value, low, high = (round(number, 6) for number in bootstrap.interval(shares))
    return {
        "threshold_refuses_of_validation": fit.REFUSED,
        "test_refused": {"value": value, "low": low, "high": high},
        "accepted_of_kinds_left_out_of_fitting": fit.left_out(training, validation, seed),
    }


def _map_scale(maps: np.ndarray) -> list[float]:
    """From black to the brightest: 0 to the 95th percentile of the validation maps' maxima."""
    brightest = float(np.quantile(maps.max(axis=(1, 2)), 0.95))
    if brightest <= 0:
        log.warning(
            "the candidate's maps are empty on nearly all validation pictures: the gate will hardly let it pass"
        )
        return [0.0, 1.0]
    return [0.0, brightest]


def _json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.relative_to(paths.ROOT)} is missing; run `make repro`") from None
    except ValueError as error:
        raise ProjectError(f"{path.relative_to(paths.ROOT)} is no valid JSON: {error}") from None


if __name__ == "__main__":
    run("package", main)
