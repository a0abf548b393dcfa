"""The families of changes under which networks are judged, each change with its kind.

`TRAINED` holds changes of kinds that the recipe `robust` trains on, and three of others. `UNSEEN` holds only kinds that no
recipe trains on (a test compares with what each recipe declares). It was fixed before any network that it judges was
trained, at strengths at which networks that existed then differ on validation patients (benchmarks/robustness.py).
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from pipeline.robustness import changes
from pipeline.robustness.changes import Function

Kind = Literal[
    "tone",  # a grey value becomes another one, wherever it stands
    "geometry",  # what is shown moves
    "collimation",  # edges are cut off by black bars
    "blur",  # fine detail is lost
    "compression",  # the image is stored at a loss
    "noise",  # each pixel changes at random
    "grid",  # a regular pattern lies over the whole image
    "detector",  # pixels or rows are dead
    "overlay",  # something that is not the patient lies on the image
    "illumination",  # a grey value becomes another one by where it stands
]


@dataclass(frozen=True)
class Change:
    """Takes and gives uint8 [images, side, side]; the same at every call and in every batch."""

    kind: Kind
    apply: Function

    def __call__(self, images: np.ndarray) -> np.ndarray:
        return self.apply(images)


@dataclass(frozen=True)
class Family:
    """Changes by name. Whoever alters what one of them does raises `version`: figures of two versions are no pair."""

    name: str
    version: int
    changes: dict[str, Change]

    @property
    def kinds(self) -> frozenset[Kind]:
        return frozenset(change.kind for change in self.changes.values())


TRAINED = Family(
    "stress",
    1,
    {
        "gamma_0.6": Change("tone", changes.gamma(0.6)),
        "gamma_1.6": Change("tone", changes.gamma(1.6)),
        "contrast_0.6": Change("tone", changes.contrast(0.6)),
        "contrast_1.4": Change("tone", changes.contrast(1.4)),
        "darker_0.15": Change("tone", changes.brightness(-0.15)),
        "brighter_0.15": Change("tone", changes.brightness(0.15)),
        "blur_0.8": Change("blur", changes.blur(0.8)),
        "wider_1.28": Change("geometry", changes.stretch(1.28, 1.0)),
        "taller_1.28": Change("geometry", changes.stretch(1.0, 1.28)),
        "side_bars_0.1": Change("collimation", changes.side_bars(0.1)),
        "jpeg_40": Change("compression", changes.jpeg(40)),
    },
)

UNSEEN = Family(
    "unseen",
    1,
    {
        "grid_lines_0.4_8": Change("grid", changes.grid_lines(0.4, 8)),
        "poisson_80": Change("noise", changes.poisson(80)),
        "dead_pixels_0.015": Change("detector", changes.dead_pixels(0.015)),
        "dead_rows_3": Change("detector", changes.dead_rows(3)),
        "motion_0.15": Change("blur", changes.motion(0.15)),
        "blur_3": Change("blur", changes.blur(3)),
        "jpeg_4": Change("compression", changes.jpeg(4)),
        "marker_0.3": Change("overlay", changes.marker(0.3)),
        "leads_0.015": Change("overlay", changes.leads(0.015)),
        "shadow_left_0.9": Change("illumination", changes.shadow(0.9, "left")),
        "haze_right_0.8": Change("illumination", changes.haze(0.8, "right")),
    },
)
