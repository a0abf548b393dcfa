"""Draw what the networks look at, and run the sanity checks of the candidate's saliency maps.

    python -m pipeline.stages.explain [RUN]

RUN is a line of `train` in params.yaml; without it the run that may be released, else the candidate, else the first trained.
"""

import logging
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pipeline import paths, settings
from pipeline.command import run as run_command
from pipeline.data import probes
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.evaluation import calibration, predictions, run_metrics
from pipeline.explain import (
    check_results,
    explain_sheets,
    saliency_checks,
    saliency_metrics,
    saliency_plots,
    selection,
)
from pipeline.explain.saliency_checks import Part, Row, Subject
from pipeline.figures import architecture as drawing
from pipeline.figures import canvas, style
from pipeline.files import atomic_folder, read_json, write_json
from pipeline.inference import Graph
from pipeline.input_check import guard as guards
from pipeline.labels import CLASSES
from pipeline.registry import contract
from pipeline.robustness.families import TRAINED
from pipeline.settings import Settings

log = logging.getLogger("explain")

METRICS = paths.METRICS / "explain"
PLOTS = paths.PLOTS / "explain"
SHEETS = paths.REPORTS / "explain"
DRAWN_IN_FULL = 60  # layers, at most
AGREEMENT = 0.02  # logits: the graph on this machine against what training wrote
BORDERS = {"without its frame": probes.without_frame, "frame alone": probes.frame_alone}


def main() -> None:
    """Write metrics/explain/ and plots/explain/ (no single patient), and reports/explain/ (single images, outside git)."""
    started = time.monotonic()
    options = settings.load()
    name = _chosen(options)
    from pipeline.learning import inspection, trained  # Keras: 12 s, after the settings are known to be good

    _expect_layers(options)
    network = trained.load(name)
    subject = _subject(name, network, options)
    with atomic_folder(METRICS) as metrics, atomic_folder(PLOTS) as plots, atomic_folder(SHEETS) as sheets:
        cascade = _cascade(subject, network, options)
        drawn = _draw_networks(plots, sheets, subject, options)
        pair = list(selection.one_of_each(subject.parts["test"].split.labels, options.explain.seed))
        explain_sheets.pair(sheets, subject, pair, *inspection.study_map(network, subject.parts["test"].pixels[pair]))
        explain_sheets.sheet(sheets, subject)
        explain_sheets.gallery(sheets / "gallery", subject)
        checks = _check(subject, options)
        tables = {"randomisation": cascade, **checks}
        for table, rows in tables.items():
            write_table(metrics / f"{table}.csv", list(dict.fromkeys(key for row in rows for key in row)), rows)
        judged = check_results.verdicts(cascade, checks["masking"], checks["border"])
        write_json(metrics / "summary.json", _summary(subject, judged, drawn))
        explain_sheets.draw_checks(plots, subject, tables, judged)
    for check, verdict in judged.items():
        log.info("%s: %s. %s", check, "passes" if verdict["passes"] else "FAILS", check_results.sentence(verdict))
    log.info("%.0f s", time.monotonic() - started)


def _expect_layers(options: Settings) -> None:
    """Ask every network for the layers named in explain.layers, trained or not: a wrong name is told before the work."""
    from pipeline.learning import inspection, trained

    side = options.preprocess.image_size
    for kind, layers in options.explain.layers.items():
        network = trained.build({"network": kind, "image_size": side, "scaling": "unit"})
        inspection.feature_maps(network, np.zeros((side, side), np.uint8), layers)


def _chosen(options: Settings) -> str:
    """The run to explain."""
    if len(sys.argv) > 2:
        raise ProjectError("usage: python -m pipeline.stages.explain [RUN]")
    if len(sys.argv) == 2:
        if sys.argv[1] not in options.table:
            raise ProjectError(f"{sys.argv[1]!r} is no run of params.yaml; known: {', '.join(options.table)}")
        return sys.argv[1]
    path = paths.METRICS / "candidate.json"
    if named := read_json(path, otherwise=None):
        return str((named["released"] or named)["run"])
    for name in options.runs:
        if paths.network(name).is_file():
            log.warning("metrics/candidate.json is missing: explaining %s, the first run that was trained", name)
            return name
    raise ProjectError("models/runs/ holds no network: train one first (make repro)")


def _subject(name: str, network: Any, options: Settings) -> Subject:
    """Export the network, and ask it about both splits."""
    from pipeline.learning import export

    run = predictions.read(paths.predictions(name))
    samples = run_metrics.draw(run, options.evaluate)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        path.write_bytes(export.calibrate(export.to_onnx(network, "float32"), 0.0, 1.0).SerializeToString())
        graph = Graph(path)
    parts = {}
    for split, array in (("validation", "development"), ("test", "test")):
        predicted = getattr(run, split)
        place = {row["path"]: number for number, row in enumerate(read_table(paths.index(array)))}
        missing = [path for path in predicted.paths if path not in place]
        if missing:
            raise ProjectError(f"predictions/{name} names {missing[0]}, which data/arrays/{array}.csv does not have")
        pixels = np.load(paths.array(array), mmap_mode="r")[[place[path] for path in predicted.paths]]
        answers = graph.answer(pixels, split)
        apart = float(np.abs(answers.logits - predicted.logits).max())
        if apart > AGREEMENT * max(1.0, float(np.abs(predicted.logits).max())):
            raise ProjectError(
                f"models/runs/{name} answers otherwise than predictions/{name} says (logits up to {apart:.2g} apart); "
                f"train it again (dvc repro train@{name})"
            )
        parts[split] = Part(split, pixels, predicted, getattr(samples, split), answers.logits, answers.maps)
    largest = saliency_metrics.map_scale(parts["validation"].maps)
    if largest <= 0:
        log.warning("%s: its maps are empty on nearly all validation images: it has hardly learned anything", name)
        largest = 1.0  # any scale draws nothing
    fixed = run_metrics.thresholds(run, samples, options.evaluate)
    logit_thresholds = {"plain": fixed[""], "sensitive": fixed["sensitive"]}
    return Subject(name, run.facts, lambda images: graph.answer(images).logits, parts, logit_thresholds, largest)


def _cascade(subject: Subject, network: Any, options: Settings) -> list[Row]:
    """Rank correlation of the maps with those of ever more random weights, on validation images called pneumonia."""
    import keras
    from tqdm import tqdm

    from pipeline.learning import inspection, trained
    from pipeline.learning.saliency import explainer

    part, setting = subject.parts["validation"], options.explain.cascade
    rows = np.flatnonzero(part.logits >= subject.plain)
    if not len(rows):
        log.warning("%s calls no validation image pneumonia: its maps are checked on all of them", subject.name)
        rows = np.arange(len(part.logits))
    rows = np.sort(np.random.default_rng(options.explain.seed).permutation(rows)[: setting.pictures])
    full = explainer(network)
    images, sample = part.pixels[rows][..., None], part.sample.take(rows)
    drawn: dict[tuple[str, float], list[np.ndarray]] = {}
    with tqdm(total=setting.draws * setting.steps, desc="random weights", unit="step", disable=None) as bar:
        for draw in range(setting.draws):
            keras.utils.set_random_seed(options.explain.seed + draw)
            reinitialised = trained.build(subject.facts)
            for step in inspection.cascade(network, reinitialised, setting.steps):
                drawn.setdefault(step, []).append(full.predict(images, batch_size=32, verbose=0)["map"])
                bar.update()
    return [
        {"layer": layer, "random_share": round(share, 5), "pictures": len(rows), "draws": setting.draws}
        | saliency_checks.correlation(part.maps[rows], maps, sample)
        for (layer, share), maps in drawn.items()
    ]


def _draw_networks(plots: Path, sheets: Path, subject: Subject, options: Settings) -> Row:
    """Architectures of all networks in the table of runs, and the feature maps of those that were trained."""
    from pipeline.learning import architecture, inspection, networks, trained

    part = subject.parts["test"]
    place, _ = selection.one_of_each(part.split.labels, options.explain.seed)
    image = part.pixels[place]
    maps: dict[str, dict[str, np.ndarray]] = {}
    shown: Row = {}
    for kind in options.networks:
        name = _run_of(kind, options, subject.name)
        known = {"network": kind, "image_size": len(image), "scaling": "unit"}
        network = trained.load(name) if name else trained.build(known)
        # One that is defined here is drawn layer by layer, if it is small.
        defined_here = networks.get(kind).application is None
        in_full = defined_here and len(network.layers) <= DRAWN_IN_FULL
        figure = drawing.draw(architecture.describe(network, in_full=in_full))
        figure.suptitle(f"{kind}: {network.count_params():,} weights, {len(network.layers)} layers")
        style.save(figure, plots / f"architecture-{kind}.svg")
        if name:
            layers = options.explain.layers.get(kind) or inspection.first_and_last(network)
            maps[kind] = inspection.feature_maps(network, image, layers)
        shown[kind] = name
    note = "First map of each layer, each on its own scale and grid; none localises a disease. "
    note += f"One image of the official test set: {part.split.paths[place]}."
    if absent := [kind for kind, name in shown.items() if not name]:
        note += f" Not trained yet: {', '.join(absent)}."
    title = "Feature maps of the first nine and last three layers"
    canvas.save(
        saliency_plots.feature_maps(image, maps), sheets / "feature_maps.png", title, subject.facts["dataset"], note
    )
    return shown


def _run_of(kind: str, options: Settings, subject: str) -> str | None:
    """A trained run of a network: the one explained, else the balanced one, else any in the order of params.yaml."""
    runs = [name for name, run in options.runs.items() if run.network == kind and paths.network(name).is_file()]
    runs.sort(key=lambda name: (name != subject, options.runs[name].group != "balanced"))
    return runs[0] if runs else None


def _check(subject: Subject, options: Settings) -> dict[str, list[Row]]:
    """The checks that ask the graph, on validation and test, by table."""
    setting = options.explain
    changes: dict[str, probes.Change] = {**TRAINED.changes, **probes.SMALL_CHANGES}
    check = _input_check()
    refuse = (lambda images: check.scores(images) > check.limit) if check else None
    rows: dict[str, list[Row]] = {"masking": [], "border": [], "stress": [], "unusual": []}
    for part in subject.parts.values():
        log.info("checking on %s", part.name)
        mask = saliency_checks.masking(
            part, subject.ask, subject.plain, setting.hottest, setting.shuffles, setting.seed
        )
        rows["masking"].append(mask)
        rows["border"] += saliency_checks.borders(part, subject.ask, setting.borders, BORDERS)
        rows["stress"] += saliency_checks.stress(part, subject.ask, changes, subject.thresholds)
        rows["unusual"] += saliency_checks.unusual(part, subject.ask, probes.UNUSUAL, subject.thresholds, refuse)
    return rows | {"strangers": list(_out_of_distribution(subject, check))}


def _out_of_distribution(subject: Subject, check: "_InputCheck | None") -> Iterator[Row]:
    """What is said of single images that are no chest."""
    side = subject.parts["test"].pixels.shape[1]
    for name, image in probes.out_of_distribution(side).items():
        logit = subject.ask(image[None])
        row: Row = {"picture": name, "probability": f"{float(calibration.sigmoid(logit)[0]):.5f}"}
        for point, threshold in subject.thresholds.items():
            if threshold is not None:
                row[point] = CLASSES[int(logit[0] >= threshold)]
        if check:
            score = float(check.scores(image[None])[0])
            row |= {"guard_score": round(score, 3), "guard_threshold": round(check.limit, 3)}
            row["refused"] = score > check.limit
        yield row


class _InputCheck:
    """The candidate's input check, which reads what the candidate's graph sees."""

    def __init__(self) -> None:
        self._guard = guards.load(paths.CANDIDATE / "guard.npz")
        self._graph = Graph(paths.CANDIDATE / "model.onnx")
        self.limit = float(self._guard["threshold"])

    def scores(self, images: np.ndarray) -> np.ndarray:
        """The score of each image, uint8 [n, side, side]; above `limit` it is rejected."""
        return guards.scores(self._guard, images, self._graph.answer(images, "input check").features)


def _input_check() -> _InputCheck | None:
    if (paths.CANDIDATE / "guard.npz").is_file():
        return _InputCheck()
    log.warning("models/candidate/guard.npz is missing: what the input check rejects is not measured")
    return None


def _version(name: str) -> str | None:
    """The version of the candidate that was explained; None where models/candidate/ is of another run."""
    if not (paths.CANDIDATE / "contract.json").is_file():
        return None
    terms = contract.read(paths.CANDIDATE)
    return str(terms["version"]) if terms["run"] == name else None


def _summary(subject: Subject, judged: Mapping[str, Row], drawn: Row) -> Row:
    part = subject.parts["validation"]
    facts = {key: subject.facts[key] for key in ("network", "group", "dataset", "edition", "dataset_digest")}
    return {
        "run": subject.name,
        "version": _version(subject.name),
        **facts,
        "grid": list(part.maps.shape[1:]),
        "map_scale": [0.0, round(subject.largest, 5)],
        "thresholds_logit": subject.thresholds,
        "pictures": {name: len(split_part.pixels) for name, split_part in subject.parts.items()},
        "checks": dict(judged),
        "feature_maps": drawn,
    }


if __name__ == "__main__":
    run_command("explain", main)
