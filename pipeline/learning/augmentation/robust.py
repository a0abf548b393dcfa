"""The study's recipe with a wider zoom and changed grey values, so that stretch and exposure stop giving the class away."""

from pipeline.learning.augmentation import Ranges

KINDS = frozenset({"geometry", "tone"})
RANGES = Ranges(rotation=10 / 360, zoom=0.25, shift=0.1, log_gamma=0.5, contrast=0.4, brightness=0.2)
