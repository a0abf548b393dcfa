"""What a network reads: masks on its map, its image's frame, small changes, and images that are no chest.

Every check asks a function from images, uint8 [n, side, side], to logits, float64 [n]; no framework is known here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.evaluation import bootstrap, metrics
from pipeline.evaluation.bootstrap import Floats, Sample
from pipeline.evaluation.predictions import Split
from pipeline.evaluation.run_metrics import number
from pipeline.explain import saliency_metrics

Ask = Callable[[np.ndarray], Floats]
Change = Callable[[np.ndarray], np.ndarray]
Row = dict[str, Any]


@dataclass(frozen=True)
class Part:
    """One split as it is: `pixels` uint8 [n, side, side], the answers to it, and the resamples of its patients."""

    name: str
    pixels: np.ndarray
    split: Split
    sample: Sample
    logits: Floats
    maps: np.ndarray


@dataclass(frozen=True)
class Subject:
    """The run that is explained: how it is asked, its answers to both splits, and its thresholds on the logit by name.

    `largest` is the evidence drawn in the strongest colour.
    """

    name: str
    facts: dict[str, Any]
    ask: Ask
    parts: dict[str, Part]
    thresholds: dict[str, float | None]
    largest: float

    @property
    def plain(self) -> float:
        """The plain threshold on the logit."""
        threshold = self.thresholds["plain"]
        assert threshold is not None
        return threshold


def masking(part: Part, ask: Ask, threshold: float, share: float, shuffles: int, seed: int) -> Row:
    """By how much the logit falls when the hottest `share` of an image is greyed, against a random one of the same kind.

    The images are those called pneumonia at the logit `threshold`. The random mask is the hottest share of the same map with
    its cells shuffled. An image with an empty map has no hottest place: its difference counts as 0.
    """
    rows = np.flatnonzero(part.logits >= threshold)
    if not len(rows):
        return {"split": part.name, "pictures": 0}
    pixels, maps, before = part.pixels[rows], part.maps[rows], part.logits[rows]
    side, random = pixels.shape[1], np.random.default_rng(seed)
    hot = before - ask(saliency_metrics.mask(pixels, saliency_metrics.hottest(maps, side, share)))
    elsewhere = np.zeros((shuffles, len(rows)))
    flipped = np.zeros((shuffles, len(rows)))
    for place in range(shuffles):
        after = ask(
            saliency_metrics.mask(
                pixels, saliency_metrics.hottest(saliency_metrics.shuffled(maps, random), side, share)
            )
        )
        elsewhere[place], flipped[place] = before - after, after < threshold
    empty = maps.max(axis=(1, 2)) <= 0
    difference = np.where(empty, 0.0, hot - elsewhere.mean(axis=0))
    sample = part.sample.take(rows)
    estimates = {
        "logit_fall_hottest": hot,
        "logit_fall_random": elsewhere.mean(axis=0),
        "difference": difference,
        "flipped_hottest": (before - hot < threshold).astype(np.float64),
        "flipped_random": flipped.mean(axis=0),
    }
    counts = {"split": part.name, "pictures": len(rows), "empty_maps": int(empty.sum())}
    return counts | _flat({name: bootstrap.mean(values, sample) for name, values in estimates.items()})


def borders(
    part: Part, ask: Ask, shares: Sequence[float], changes: Mapping[str, Callable[[float], Change]]
) -> list[Row]:
    """AUC as it is, and under each kind of change (frame blacked out, frame alone) for each share of the side."""
    rows: list[Row] = [{"split": part.name, "shown": "whole picture", "share": 0} | _auc(part, part.logits)]
    for shown, change in changes.items():
        for share in shares:
            rows.append(
                {"split": part.name, "shown": shown, "share": share} | _auc(part, ask(change(share)(part.pixels)))
            )
    return rows


def stress(part: Part, ask: Ask, changes: Mapping[str, Change], thresholds: Mapping[str, float | None]) -> list[Row]:
    """AUC, and at each threshold sensitivity, specificity and verdicts flipped per thousand, under each change."""
    rows = [_stressed(part, "none", part.logits, thresholds)]
    return rows + [_stressed(part, name, ask(change(part.pixels)), thresholds) for name, change in changes.items()]


def _stressed(part: Part, change: str, logits: Floats, thresholds: Mapping[str, float | None]) -> Row:
    row: Row = {"split": part.name, "change": change} | _auc(part, logits)
    for point, threshold in thresholds.items():
        if threshold is None:
            continue
        decided = metrics.decisions(part.split.labels, logits, part.sample, threshold)
        flips = 1000.0 * ((logits >= threshold) != (part.logits >= threshold))
        row |= _flat(
            {
                f"{point}_sensitivity": bootstrap.interval(decided["sensitivity"]),
                f"{point}_specificity": bootstrap.interval(decided["specificity"]),
                f"{point}_flips_per_thousand": bootstrap.mean(flips, part.sample),
            }
        )
    return row


def unusual(
    part: Part, ask: Ask, changes: Mapping[str, Change], thresholds: Mapping[str, float | None], refused: Change | None
) -> list[Row]:
    """What is answered to whole splits turned or inverted, and how many the input guard refuses (where there is one)."""
    rows = []
    for name, change in {"as it is": _unchanged, **changes}.items():
        images = change(part.pixels)
        logits = part.logits if change is _unchanged else ask(images)
        row: Row = {"split": part.name, "pictures": name, "count": len(images)}
        for point, threshold in thresholds.items():
            if threshold is not None:
                called = bootstrap.mean((logits >= threshold).astype(np.float64), part.sample)
                row |= _flat({f"{point}_called_pneumonia": called})
        if refused:
            row |= _flat({"refused": bootstrap.mean(refused(images).astype(np.float64), part.sample)})
        rows.append(row)
    return rows


def correlation(maps: np.ndarray, others: Sequence[np.ndarray], sample: Sample) -> Row:
    """Mean rank correlation of maps [n, h, w] with those of several draws; a constant map of theirs agrees with none: 0.

    An image whose own map is constant has nothing to agree with and is left out: `constant_maps` is the share of these,
    `undefined` the share of all correlations in which either map was constant.
    """
    each = np.stack([saliency_metrics.rank_correlation(maps, other) for other in others])
    told = np.flatnonzero(np.ptp(maps.reshape(len(maps), -1), axis=1) > 0)
    row = _flat({"correlation": bootstrap.mean(np.nan_to_num(each[:, told]).mean(axis=0), sample.take(told))})
    shares = {"undefined": np.isnan(each).mean(), "constant_maps": 1 - len(told) / len(maps)}
    return row | {name: number(float(share)) for name, share in shares.items()}


def _unchanged(images: np.ndarray) -> np.ndarray:
    return images


def _auc(part: Part, logits: Floats) -> Row:
    return _flat({"auc": bootstrap.interval(bootstrap.auc(part.split.labels, logits, part.sample))})


def _flat(estimates: Mapping[str, tuple[float, float, float]]) -> Row:
    return {
        f"{name}{end}": number(value)
        for name, triple in estimates.items()
        for end, value in zip(("", "_low", "_high"), triple, strict=True)
    }
