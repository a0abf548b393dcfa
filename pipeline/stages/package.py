"""Export the candidate as one graph, and measure the released model: recalibration, operating points, metrics, map scale."""

import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

from pipeline import paths
from pipeline import settings as all_settings
from pipeline.command import run
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import bootstrap, calibration, run_metrics
from pipeline.evaluation.predictions import Predictions, Split
from pipeline.files import atomic_folder, read_json, sha256_of, write_json, write_text
from pipeline.inference import PRECISION, Answers, Graph
from pipeline.input_check import fit, network_features
from pipeline.labels import are_pneumonia
from pipeline.registry import card, contract, thresholds, validation_predictions
from pipeline.robustness.families import TRAINED
from pipeline.settings import Settings

log = logging.getLogger(__name__)

NAME = "pneumonia-in-childrens-chest-xrays"


def main() -> None:
    """Write models/candidate/: the graph, its contract and card, and its answers to the validation images."""
    settings = all_settings.load()
    name = _candidate()
    facts = read_json(paths.predictions(name) / "run.json")
    with atomic_folder(paths.CANDIDATE) as folder:
        images = _Images.read()
        model = network_features.add(_export(name, facts, settings.package.weights))
        validation = _load(folder / "model.onnx", model, 0.0, 1.0).answer(images.validation, "validation")
        recalibration, fitted_on = _recalibrate(images, validation.logits)
        graph = _load(folder / "model.onnx", model, recalibration.intercept, recalibration.slope)
        test = graph.answer(images.test, "test")
        run = _predictions(name, facts, graph, images, validation.logits, test.logits)
        validation_predictions.write(folder, validation_predictions.Validation(run.validation, run.stress))
        validation_predictions.write_unseen(folder, graph, images.validation)
        seen = _Seen(fit.seen(images.validation, validation.features), fit.seen(images.test, test.features))
        terms = {
            **_described(name, facts, settings, images.validation, validation),
            "recalibration": {
                "intercept": recalibration.intercept,
                "slope": recalibration.slope,
                "fitted_on": fitted_on,
            },
            "prevalence": float(run.validation.labels.mean()),
            "map_scale": _map_scale(validation.maps),
            **_measured(run, recalibration, settings),
            "guard": _fit_guard(folder / "guard.npz", graph, images, seen, run, settings),
        }
        terms["files"] = {path.name: sha256_of(path) for path in sorted(folder.iterdir())}
        terms["version"] = contract.version_of(terms)
        write_json(folder / "contract.json", terms)
        write_text(folder / "card.md", card.text(terms))
        if broken := contract.check(folder):
            raise ProjectError(f"the candidate breaks its contract: {'; '.join(broken)}")
    log.info("candidate %s: %.1f MB", terms["version"], (paths.CANDIDATE / "model.onnx").stat().st_size / 1e6)


@dataclass(frozen=True)
class _Images:
    """Rows of the manifest in path order with their pixels uint8 [n, side, side], and the pixels of the training images."""

    validation_rows: list[dict[str, str]]
    validation: np.ndarray
    test_rows: list[dict[str, str]]
    test: np.ndarray
    training: np.ndarray

    @classmethod
    def read(cls) -> "_Images":
        rows = _validation_rows()
        held_out = [row for row, _ in rows]
        development = np.load(paths.array("development"), mmap_mode="r")
        training = np.delete(development, held_out, axis=0)
        test = np.load(paths.array("test"), mmap_mode="r")
        return cls([row for _, row in rows], development[held_out], read_table(paths.index("test")), test, training)


class _Seen(NamedTuple):
    """What the input check reads of the validation and the test images."""

    validation: fit.Seen
    test: fit.Seen


def _recalibrate(images: _Images, logits: np.ndarray) -> tuple[calibration.Recalibration, str | None]:
    """The recalibration, and on what it was fitted: on nothing where the logits separate the classes or are constant."""
    labels = are_pneumonia(images.validation_rows)
    fitted = calibration.fit(labels, logits)
    if fitted is None:
        log.warning("no recalibration: the logits separate the classes, or are constant, on validation")
    return fitted or calibration.Recalibration(0.0, 1.0), "validation" if fitted else None


def _predictions(
    name: str, facts: dict[str, Any], graph: Graph, images: _Images, validation: np.ndarray, test: np.ndarray
) -> Predictions:
    """What the graph that ships says of all images; the stressed ones are asked here."""
    stress = {
        change: graph.answer(function(images.validation), change).logits for change, function in TRAINED.changes.items()
    }
    return Predictions(
        name=name,
        facts=facts,
        validation=_split(images.validation_rows, validation),
        test=_split(images.test_rows, test),
        stress=stress,
        history={key: np.array([]) for key in ("epoch", "accuracy", "val_accuracy")},
    )


def _described(
    name: str, facts: dict[str, Any], settings: Settings, validation: np.ndarray, answers: Answers
) -> dict[str, Any]:
    """What the contract says that nothing was measured for."""
    assert answers.features is not None  # `network_features.add` has put them there
    return {
        "name": NAME,
        "dataset": facts["dataset"],
        "edition": facts["edition"],
        "dataset_digest": facts["dataset_digest"],
        "run": name,
        "network": facts["network"],
        "weights": settings.package.weights,
        "precision": PRECISION,
        "input": {"name": "pixels", "dtype": "uint8", "shape": [None, *validation.shape[1:], 1], "range": [0, 255]},
        "outputs": {
            "logit": {"dtype": "float32", "shape": [None]},
            "probability": {"dtype": "float32", "shape": [None], "range": [0, 1]},
            "map": {"dtype": "float32", "shape": [None, *answers.maps.shape[1:]], "unit": "logit"},
            "features": {
                "dtype": "float32",
                "shape": [None, answers.features.shape[1]],
                "unit": "channel means, for the input check",
            },
        },
        "format": contract.FORMAT,
        "trained_with": _environment(name),
        "intended_use": contract.INTENDED_USE,
        "changelog": settings.package.changelog,
    }


def _candidate() -> str:
    """The run that `compare` chose among those that may be released."""
    released = read_json(paths.METRICS / "candidate.json").get("released")
    if not released:
        raise ProjectError("metrics/candidate.json: no run may be released (params.yaml: compare.release)")
    return str(released["run"])


def _environment(name: str) -> dict[str, Any] | None:
    """With what the run was trained; None for runs that are older than this file."""
    path = paths.predictions(name) / "environment.json"
    return read_json(path, otherwise=None)


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
    """The validation images in path order: row of the development array, and the manifest's row."""
    index = read_table(paths.index("development"))
    rows = [int(line["row"]) for line in read_table(paths.group("validation"))]
    return sorted(((row, index[row]) for row in rows), key=lambda pair: pair[1]["path"])


def _split(rows: list[dict[str, str]], logits: np.ndarray) -> Split:
    return Split(
        paths=[row["path"] for row in rows],
        labels=are_pneumonia(rows),
        subtypes=[row["subtype"] for row in rows],
        patients=[row["patient"] for row in rows],
        logits=logits,
    )


def _measured(run: Predictions, recalibration: calibration.Recalibration, settings: Settings) -> dict[str, Any]:
    """The two thresholds, and every metric with its interval, of the released model."""
    options = settings.evaluate
    samples = run_metrics.draw(run, options)
    points = thresholds.fix(run, samples, recalibration, options)
    estimates, facts = run_metrics.measure(run, samples, options, thresholds.logits(points, recalibration))
    flat = run_metrics.summary(run, estimates, facts)
    nested: dict[str, dict[str, Any]] = {"validation": {}, "test": {}, "stress": {}}
    for key in estimates:
        part, _, metric = key.partition("_")
        if part in nested:
            nested[part][metric] = {"value": flat[key], "low": flat[f"{key}_low"], "high": flat[f"{key}_high"]}
    for part, share in thresholds.indeterminate(points, run, samples, recalibration).items():
        nested[part]["indeterminate"] = share
    bounds = {"sensitive": options.sensitive, "specific": options.specific}
    return {
        "operating_points": {
            point: {"threshold": score, "bound": bounds[point], "fixed_on": thresholds.FIXED_ON}
            for point, score in points.items()
        },
        "thresholds": thresholds.for_contract(points, run, samples, recalibration, options),
        "figures": nested,
    }


def _fit_guard(
    path: Path, graph: Graph, images: _Images, seen: _Seen, run: Predictions, settings: Settings
) -> dict[str, Any]:
    """Fit the input check, write it, and say whom it turns away."""
    options = settings.evaluate

    def ask(pixels: np.ndarray, what: str) -> fit.Seen:
        return fit.seen(pixels, graph.answer(pixels, what).features)

    material = fit.gather(images.training, ask, options.seed)
    patients = np.array([row["patient"] for row in images.validation_rows])
    validation = fit.Validation(seen.validation, patients)
    fitted = fit.fit(material, validation)
    np.savez(path, allow_pickle=False, **fitted)
    central = ask(fit.central(images.validation), "central 80 %")
    asked = fit.ask_negatives(images.validation, ask, options.seed)
    samples = run_metrics.draw(run, options)
    return {
        "threshold_refuses_of_validation": fit.REFUSED,
        "warned_from": float(fitted["unlike"]),
        "patients_refused": {
            "validation": round(fit.patients_rejected(fitted, validation), 6),
            "central 80 % of validation": round(fit.patients_rejected(fitted, fit.Validation(central, patients)), 6),
        },
        "validation_refused": _share(fit.rejects(fitted, seen.validation), samples.validation),
        "central_80_percent_of_validation_refused": _share(fit.rejects(fitted, central), samples.validation),
        "test_refused": _share(fit.rejects(fitted, seen.test), samples.test),
        "accepted_of_kinds_left_out_of_fitting": fit.left_out(material, validation, asked),
        "reasons_told": fit.reasons_told(fitted, asked),
    }


def _share(refused: np.ndarray, sample: bootstrap.Sample) -> dict[str, float]:
    """A share of images with its interval by patient."""
    estimate = bootstrap.mean(refused.astype(np.float64), sample)
    return {key: round(number, 6) for key, number in zip(("value", "low", "high"), estimate, strict=True)}


def _map_scale(maps: np.ndarray) -> list[float]:
    """From black to the brightest: 0 to the 95th percentile of the validation maps' maxima."""
    brightest = float(np.quantile(maps.max(axis=(1, 2)), 0.95))
    if brightest <= 0:
        log.warning("the candidate's maps are empty on nearly all validation images: the gate will hardly let it pass")
        return [0.0, 1.0]
    return [0.0, brightest]


if __name__ == "__main__":
    run("package", main)
