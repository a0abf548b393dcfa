"""What the image reader does with real images, and what the same image becomes in every kind of file.

    CXR_DATA=... CXR_ORIGINALS=... [CXR_EXTERNAL=... CXR_UNLABELLED=... CXR_DICOM=...] python -m benchmarks.reader

    python -m benchmarks.reader tones        whom the warnings about tones touch, by name
    python -m benchmarks.reader images       every image: read, refused, warned, and the distance to another library
    python -m benchmarks.reader flips        152 images in each kind of file: outcomes of the champion that change
    python -m benchmarks.reader resolution   the originals beside their small twins in the data set: scores and outcomes
    python -m benchmarks.reader laws         the law of tests/decoding/test_laws.py, EXAMPLES times (20,000)
    python -m benchmarks.reader speed        decoding beside release 0.1.0, and both services, interleaved

What was found goes to benchmarks/reader.json, and from there into docs/images.md. Exit status 1 past a limit.
"""

import asyncio
import datetime
import io
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pydicom
from PIL import Image
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from benchmarks.support.reader_speed import speed
from benchmarks.support.reader_tables import blocks
from benchmarks.support.record import hold
from benchmarks.support.storage import Stored, kinds
from pipeline import paths
from pipeline.data.imaging import read_pixels, read_upload, square
from pipeline.decoding import dicom_header, levels, tones
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from pipeline.errors import ProjectError
from pipeline.files import read_json, write_json, write_text
from pipeline.input_check import guard
from pipeline.reporting.markdown_blocks import insert
from pipeline.serving import model

LIMITS = Limits(20_000_000)
SIDE = 128
KEPT = paths.ROOT / "benchmarks" / "reader.json"
DOCUMENT = paths.ROOT / "docs" / "images.md"
EXAMPLES = int(os.environ.get("EXAMPLES", "20000"))
SLOWER = 1.10  # at most so many times the release's time
TOUCHED, TOUCHED_ELSEWHERE = 0.005, 2  # share of the data set, images of any other set, that a warning may touch
Facts = dict[str, Any]


def sets() -> dict[str, list[Path]]:
    """The images at hand, by set."""
    data = os.environ.get("CXR_DATA")
    folders = {
        **({f"chest_xray, {split}": f"{data}/{split}" for split in ("train", "val", "test")} if data else {}),
        "originals": os.environ.get("CXR_ORIGINALS"),
        "external": os.environ.get("CXR_EXTERNAL"),
        "unlabelled": os.environ.get("CXR_UNLABELLED"),
        "dicom": os.environ.get("CXR_DICOM"),
    }
    return {name: _images(Path(folder)) for name, folder in folders.items() if folder}


def _images(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in (".jpeg", ".jpg", ".png", ".dcm"))


def tone_warnings() -> Facts:
    """Which images of each set carry a warning about their tones, and how far the largest values lie from the others."""
    facts: Facts = {"bounds": {"span": tones.MIN_SPAN, "grey": tones.MIN_GREY, "border": tones.MAX_BORDER}, "sets": {}}
    for name, files in sets().items():
        if name != "dicom":
            results = list(_each(_tones_of, files))
            touched = {path.name: warned for path, (warned, _) in results if warned}
            furthest = round(max(far for _, (_, far) in results), 3)
            facts["sets"][name] = {"images": len(files), "touched": touched, "furthest": furthest}
    return facts


def _tones_of(path: Path) -> tuple[list[str], float]:
    """The warnings, and how far the furthest value at full size lies outside the central ones, in widths of their span."""
    image = decode(path.read_bytes()).image
    counts = np.array(image.histogram())
    low, high = np.searchsorted(np.cumsum(counts), [share * counts.sum() for share in levels.CENTRAL])
    shown = np.flatnonzero(counts)
    far = max(low - shown[0], shown[-1] - high) / max(high - low, 1)
    return tones.warnings(square(image, SIDE)), float(far)


def _each(function: Callable[[Path], Any], files: list[Path]) -> Iterator[tuple[Path, Any]]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from zip(files, pool.map(function, files), strict=True)


def images() -> Facts:
    """Every image through the reader as an upload, beside OpenCV or pydicom."""
    facts: Facts = {}
    for name, files in sets().items():
        results = [result for _, result in _each(_beside, files)]
        apart = [result["apart"] for result in results if result.get("apart") is not None]
        facts[name] = {
            "images": len(files),
            "read": sum("refused" not in result for result in results),
            "refused": dict(Counter(result["refused"] for result in results if "refused" in result)),
            "warned": sum(bool(result.get("warned")) for result in results),
            "mean_apart": round(float(np.mean(apart)), 3) if apart else None,
            "largest_mean_apart": round(float(np.max(apart)), 3) if apart else None,
        }
    return facts


def _beside(path: Path) -> Facts:
    data = path.read_bytes()
    try:
        image = read_upload(data, SIDE, LIMITS)
    except UnreadableImage as refusal:
        return {"refused": refusal.error}
    warned = [warning for warning in image.warnings if warning != dicom_header.UNMEASURED]
    other = _by_pydicom(data) if path.suffix == ".dcm" else cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
    apart = np.abs(square(Image.fromarray(other), SIDE).astype(int) - image.pixels).mean()
    return {"warned": warned, "apart": float(apart)}


def _by_pydicom(data: bytes) -> np.ndarray:
    """pydicom's own transformations; the full range of its output is black to white."""
    dataset = pydicom.dcmread(io.BytesIO(data))
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array, dataset), dataset).astype(np.float64)
    top = 2.0**dataset.BitsStored - 1
    grey = np.rint(255 * np.clip(values / top, 0, 1)).astype(np.uint8)
    return 255 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey


def flips() -> Facts:
    """The originals and every sixth test image, stored in each kind: outcomes that are not those of the image itself."""
    chosen = [*_images(Path(os.environ["CXR_ORIGINALS"])), *_images(Path(os.environ["CXR_DATA"]) / "test")[::6]]
    champion = model.load(model.champion_version(), 2)
    ask = _asker(champion)
    facts: Facts = {"images": len(chosen), "champion": champion.version, "kinds": {}}
    for path in chosen:
        with Image.open(path) as image:
            grey = np.asarray(image.convert("L"))
        for kind in kinds(grey):
            _compare(facts["kinds"].setdefault(kind.name, Counter()), kind, ask, path.name)
    facts["kinds"] = {name: dict(counts) for name, counts in facts["kinds"].items()}
    return facts


def _asker(champion: model.Model) -> Callable[[np.ndarray], tuple[str, float]]:
    """The outcome of pixels, and their score; known ones are not asked again."""
    known: dict[bytes, tuple[str, float]] = {}
    loop = asyncio.new_event_loop()

    def ask(pixels: np.ndarray) -> tuple[str, float]:
        key = pixels.tobytes()
        if key not in known:
            outputs = loop.run_until_complete(champion.network.infer(pixels))
            rejected = guard.judge(champion.guard, pixels, outputs.features).rejected
            known[key] = ("rejected" if rejected else _outcome(champion, outputs.probability), outputs.probability)
        return known[key]

    return ask


def _outcome(champion: model.Model, score: float) -> str:
    return "".join(str(int(score >= champion.threshold(point))) for point in ("sensitive", "specific"))


def _compare(counts: Counter[str], kind: Stored, ask: Callable[[np.ndarray], tuple[str, float]], name: str) -> None:
    right = square(Image.fromarray(kind.image), SIDE)
    try:
        pixels = read_upload(kind.data, SIDE, LIMITS).pixels
    except UnreadableImage:
        counts["refused"] += 1
        return
    apart = int(np.abs(pixels.astype(int) - right).max())
    counts["images"] += 1
    counts["largest_apart"] = max(counts["largest_apart"], apart)
    if ask(pixels)[0] != ask(right)[0]:
        counts["within one grey level" if _is_near(right, ask) else "changed"] += 1


def _is_near(pixels: np.ndarray, ask: Callable[[np.ndarray], tuple[str, float]]) -> bool:
    """Whether one grey level more or less everywhere changes the outcome too."""
    shifted = (np.clip(pixels.astype(int) + step, 0, 255).astype(np.uint8) for step in (-1, 1))
    return any(ask(other)[0] != ask(pixels)[0] for other in shifted)


def resolution() -> Facts:
    """The originals and their small twins in the data set: how far apart the scores are, and outcomes that differ."""
    twins = {path.name: path for path in _images(Path(os.environ["CXR_DATA"]))}
    originals = [path for path in _images(Path(os.environ["CXR_ORIGINALS"])) if path.name in twins]
    if not originals:
        raise ProjectError("CXR_ORIGINALS holds no image that CXR_DATA has too")
    champion = model.load(model.champion_version(), 2)
    ask = _asker(champion)
    pairs = [[ask(read_pixels(path, SIDE)) for path in (original, twins[original.name])] for original in originals]
    apart = np.abs([score - twins_score for (_, score), (_, twins_score) in pairs])
    return {
        "images": len(originals),
        "champion": champion.version,
        "mean_apart": round(float(apart.mean()), 4),
        "largest_apart": round(float(apart.max()), 4),
        "changed": sum(outcome != twins_outcome for (outcome, _), (twins_outcome, _) in pairs),
    }


def laws() -> Facts:
    """The property test, many times; a counterexample ends it with its traceback."""
    from hypothesis import HealthCheck, given, settings
    from hypothesis import strategies as st

    from tests.decoding.test_laws import WAYS, check_way

    started = time.perf_counter()
    law = given(way=WAYS, low=st.integers(0, 22), high=st.integers(185, 255), seed=st.integers(0, 9999))(check_way)
    settings(max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck))(law)()
    return {"examples": EXAMPLES, "counterexamples": 0, "minutes": round((time.perf_counter() - started) / 60, 1)}


def criteria(name: str, facts: Facts) -> dict[str, bool]:
    """What must hold of a part."""
    if name == "tones":
        chest_xray = {key: value for key, value in facts["sets"].items() if key.startswith("chest_xray")}
        touched = sum(len(value["touched"]) for value in chest_xray.values())
        held = {
            "tones: below 0.5 % of the data set": touched <= TOUCHED * sum(v["images"] for v in chest_xray.values())
        }
        others = {key: value for key, value in facts["sets"].items() if key not in chest_xray}
        return held | {f"tones: {key}": len(value["touched"]) <= TOUCHED_ELSEWHERE for key, value in others.items()}
    if name == "flips":
        return {f"flips: {kind}": not counts.get("changed") for kind, counts in facts["kinds"].items()}
    if name == "speed":
        timed = {**facts["decoding"], **{f"service, {key}": value for key, value in facts["service"].items()}}
        return {f"speed: {key}": value["ratio"] <= SLOWER for key, value in timed.items()}
    return {}


PARTS: dict[str, Callable[[], Facts]] = {
    "tones": tone_warnings,
    "images": images,
    "flips": flips,
    "resolution": resolution,
    "laws": laws,
    "speed": lambda: speed(sets(), SIDE),
}


def main() -> None:
    """Measure the parts that the command line names, or all; keep each, and write the document."""
    held: dict[str, bool] = {}
    for name in sys.argv[1:] or PARTS:
        facts = PARTS[name]() | {"measured": datetime.datetime.now(datetime.UTC).date().isoformat()}
        print(f"{name}: {json.dumps(facts, indent=1)}")
        kept = read_json(KEPT, otherwise={})
        write_json(KEPT, kept | {name: facts})
        held |= criteria(name, facts)
    stored = read_json(KEPT)
    write_text(DOCUMENT, insert(DOCUMENT.read_text(encoding="utf-8"), blocks(stored), DOCUMENT.name))
    hold(held)


if __name__ == "__main__":
    main()
