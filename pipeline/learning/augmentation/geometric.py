"""The study's recipe: rotation within 10 degrees, zoom of each axis within 0.9 to 1.1, shifts within a tenth."""

from pipeline.learning.augmentation import Ranges

KINDS = frozenset({"geometry"})
RANGES = Ranges(rotation=10 / 360, zoom=0.1, shift=0.1)
