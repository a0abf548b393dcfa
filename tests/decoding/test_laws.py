"""One law: the same image, stored in whatever way, reads the same within one grey level of 255, or is refused."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from tests.image_storage import LOSSLESS, NATIVE, Way, scene, stored

LIMITS = Limits(1_000_000)
# Images that fill the range of their bits: without a window, a dimmer one would be shown in its own span.
WAYS = st.builds(
    Way,
    bits=st.sampled_from([8, 10, 11, 12, 13, 14, 15, 16]),
    signed=st.booleans(),
    monochrome1=st.booleans(),
    slope=st.sampled_from([1, 2, 0.5, 3.7, -1, -0.25]),
    intercept=st.sampled_from([0, -1024, 100.5, 3000]),
    voi=st.sampled_from(["none", "window", "exact", "lut", "modality lut"]),
    claimed=st.sampled_from([8, 10, 12, 16]),
    padding=st.sampled_from([0, 0, 5]),
    overlay=st.booleans(),
    syntax=st.sampled_from([*NATIVE, *LOSSLESS]),
)


def check_way(way: Way, low: int, high: int, seed: int) -> None:
    """Store an image, read it, compare."""
    image = scene(40, 50, low, high, seed)
    image[20, :2] = low, high  # where no padding takes them away
    shown = image.copy()
    shown[: way.padding] = 0
    try:
        decoded = decode(stored(image, way), None, LIMITS)
    except UnreadableImage:
        return
    assert np.abs(np.asarray(decoded.image).astype(int) - shown).max() <= 1
    assert len(decoded.warnings) == 1, decoded.warnings  # that DICOM is unmeasured


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(way=WAYS, low=st.integers(0, 22), high=st.integers(185, 255), seed=st.integers(0, 99))
def test_every_way_of_storing_an_image_reads_alike(way: Way, low: int, high: int, seed: int) -> None:
    check_way(way, low, high, seed)
