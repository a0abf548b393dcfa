"""Sanity checks of saliency maps: masks and rank correlation, in numpy."""

import numpy as np
from PIL import Image
from scipy.stats import rankdata

from pipeline.evaluation.bootstrap import Floats, divide

SCALE_QUANTILE = 0.95


def map_scale(maps: np.ndarray) -> float:
    """The value drawn as the strongest colour: the 95th percentile of the maxima of maps [n, h, w]; 0 where all are empty."""
    return float(np.quantile(maps.max(axis=(1, 2)), SCALE_QUANTILE))


def enlarge(maps: np.ndarray, side: int) -> np.ndarray:
    """Maps [n, h, w] to float32 [n, side, side], bilinear."""
    size = (side, side)
    drawn = [
        np.asarray(Image.fromarray(saliency).resize(size, Image.Resampling.BILINEAR))
        for saliency in maps.astype(np.float32)
    ]
    return np.stack(drawn)


def hottest(maps: np.ndarray, side: int, share: float) -> np.ndarray:
    """The pixels with the most evidence, exactly `share` of each image: bool [n, side, side]."""
    flat = enlarge(maps, side).reshape(len(maps), -1)
    count = round(share * side * side)
    chosen = np.argpartition(flat, -count, axis=1)[:, -count:]
    mask = np.zeros_like(flat, dtype=bool)
    np.put_along_axis(mask, chosen, True, axis=1)
    return mask.reshape(len(maps), side, side)


def shuffled(maps: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Each map with its cells in random order: as blotchy as before, somewhere else."""
    return random.permuted(maps.reshape(len(maps), -1), axis=1).reshape(maps.shape)


def mask(images: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Images uint8 [n, side, side] with the mean grey value of each where `where` is true."""
    means = np.rint(images.mean(axis=(1, 2), keepdims=True)).astype(np.uint8)
    return np.where(where, means, images)


def rank_correlation(maps: np.ndarray, others: np.ndarray) -> Floats:
    """Spearman's rank correlation of each pair of maps [n, h, w]: float64 [n]; NaN where one of them is constant."""
    ranks = [rankdata(values.reshape(len(values), -1), axis=1) for values in (maps, others)]
    centred = [values - values.mean(axis=1, keepdims=True) for values in ranks]
    spread = np.sqrt((centred[0] ** 2).sum(axis=1) * (centred[1] ** 2).sum(axis=1))
    return divide((centred[0] * centred[1]).sum(axis=1), spread)
