"""From stored values to what a radiologist sees: modality transformation, VOI, inversion (PS3.3 C.11, PS3.4 N.2)."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from pydicom.dataset import Dataset

from pipeline.decoding import grey_range
from pipeline.decoding.dicom_tables import tables
from pipeline.decoding.dicom_values import all_numbers, is_given, number, numbers, text
from pipeline.decoding.grey_range import Range
from pipeline.decoding.levels import CENTRAL, Ends, Levels, ends

# A window or table that leaves less than this of an image that has more is a mistake: of the grey range between the
# central values, and of the pixels that are neither black nor white. No training image has so little of either.
USEFUL_SPAN, USEFUL_GREY = 0.15, 0.1
LEAVES_NOTHING = "would leave next to nothing of the image"
RESCALE = ("RescaleSlope", "RescaleIntercept")
WINDOW = ("WindowCenter", "WindowWidth")
MIN_WIDTH = {"LINEAR_EXACT": 1e-9, "SIGMOID": 1e-9}  # else 1 (C.11.2.1.2.1)
ALMOST = 1 / 32  # brightness this near to 0 or 1 counts as black or white


class Modality(NamedTuple):
    """What stored values mean.

    `values`: float64 [levels], after the modality transformation; `own`: the numbers in which the image's own range is
    looked for, float64 [levels]; `falling`: the transformation turns light to dark; `stated`: the range of `own` that
    is possible, where a table says it.
    """

    values: np.ndarray
    own: np.ndarray
    falling: bool
    stated: Range | None
    warnings: list[str]


def to_grey(data: Dataset, levels: Levels) -> tuple[np.ndarray, list[str]]:
    """An image as it is meant to be shown, uint8 [height, width], and warnings.

    VOI LUTs, then windows: the first that leaves a usable image counts. Where none is declared, or none is usable, the
    image is shown in its own range.
    """
    modality = _modality(data, levels)
    inverted = text(data, "PhotometricInterpretation") == "MONOCHROME1"
    warnings = list(modality.warnings)
    ignored: dict[str, None] = {}
    shown, limits = _own_brightness(modality, levels, inverted)
    left_out = None
    own_is_usable = _is_usable(shown, levels.counts)
    for name, brightness in _declared(data, modality.values):
        if brightness is not None and (_is_usable(brightness, levels.counts) or not own_is_usable):
            shown = 1 - brightness if inverted else brightness
            break
        ignored[f"{name} {'is impossible' if brightness is None else LEAVES_NOTHING}"] = None  # each reason once
    else:
        warnings += grey_range.outlier_warnings(limits)
        left_out = grey_range.outside(limits, modality.own)
    warnings += [f"{reason} and was ignored" for reason in ignored]
    return levels.paint(shown, left_out), warnings


def _modality(data: Dataset, levels: Levels) -> Modality:
    if modality_tables := tables(data, "ModalityLUTSequence"):
        values = modality_tables[0].apply(levels.numbers)
        return Modality(values, values, False, Range(0.0, modality_tables[0].largest), [])
    warnings = []
    slope, intercept = number(data, "RescaleSlope", 1.0), number(data, "RescaleIntercept", 0.0)
    if slope == 0 or any(is_given(data, name) and not numbers(data, name) for name in RESCALE):
        slope = slope or 1.0
        warnings.append("RescaleSlope or RescaleIntercept is impossible and was ignored")
    return Modality(levels.numbers * slope + intercept, levels.numbers, slope < 0, None, warnings)


def _own_brightness(modality: Modality, levels: Levels, inverted: bool) -> tuple[np.ndarray, Ends]:
    """The image in its own range: brightness [levels], and the ends of its values."""
    limits = ends(modality.own, levels.counts)
    dark_is_high = inverted != modality.falling
    brightness = grey_range.choose(limits, dark_is_high, modality.stated).brightness(modality.own)
    return 1 - brightness if dark_is_high else brightness, limits


def _declared(data: Dataset, values: np.ndarray) -> Iterator[tuple[str, np.ndarray | None]]:
    """Every VOI transformation that the file declares: its name, and the brightness of `values`, or None if impossible."""
    for table in tables(data, "VOILUTSequence"):
        yield "the VOI LUT", table.apply(values) / table.largest
    if not all(is_given(data, name) for name in WINDOW):
        return
    function = text(data, "VOILUTFunction")
    smallest = MIN_WIDTH.get(function, 1.0)
    pairs = list(zip(*(all_numbers(data, name) for name in WINDOW), strict=False))
    for centre, width in pairs or [(None, None)]:
        possible = centre is not None and width is not None and width >= smallest
        yield "the window (WindowCenter, WindowWidth)", window(values, centre, width, function) if possible else None


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Brightness from 0 to 1 of values under a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (values - centre) / width, -700, 700)))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    return (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5


def _is_usable(brightness: np.ndarray, counts: np.ndarray) -> bool:
    shown = np.clip(brightness, 0, 1)
    order = np.argsort(shown, kind="stable")
    below = np.cumsum(counts[order])
    low, high = (shown[order][np.searchsorted(below, share * below[-1])] for share in CENTRAL)
    grey = counts[(shown > ALMOST) & (shown < 1 - ALMOST)].sum() / below[-1]
    return bool(high - low >= USEFUL_SPAN and grey >= USEFUL_GREY)
