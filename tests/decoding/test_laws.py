"""One law: the same image, stored in whatever way, reads the same within one grey level of 255, or is refused."""

import numpy as np
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from pydicom.pixels import apply_modality_lut, apply_voi_lut

from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits
from pipeline.decoding.reader import decode
from tests.image_storage import LOSSLESS, NATIVE, Way, parsed, scene, stored

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


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
@given(way=WAYS, low=st.integers(0, 22), high=st.integers(185, 255), seed=st.integers(0, 99))
def test_grey_values_are_those_of_pydicom(way: Way, low: int, high: int, seed: int) -> None:
    """pydicom knows neither padding nor MONOCHROME1, turns windows of a negative slope around, takes a LUT's word that it
    holds 8 bits, refuses a modality LUT of 10 or 12, overflows in signed images of a LUT unless they are widened, and may
    take 32,768 entries for a negative number; overlays above the stored bits it leaves in what a codec decoded.
    """
    assume(way.slope > 0 and not way.padding and not way.overlay and way.claimed > 8)
    assume(way.voi != "modality lut" or way.claimed == 16)
    assume("lut" not in way.voi or way.bits != 15)
    image = scene(40, 50, low, high, seed)
    image[20, :2] = low, high
    data = stored(image, way)
    dataset = parsed(data)
    values = apply_voi_lut(apply_modality_lut(dataset.pixel_array.astype(np.int32), dataset), dataset).astype(
        np.float64
    )
    first, top = -(2 ** (way.bits - 1)) * way.signed, 2**way.bits - 1
    black, white = (number * way.slope + way.intercept for number in (first, first + top))
    if "lut" in way.voi:
        black, white = 0, top  # the largest entry, whatever the table claims
    theirs = np.rint(255 * np.clip((values - black) / (white - black), 0, 1))
    ours = np.asarray(decode(data, None, LIMITS).image).astype(int)
    assert np.abs(ours - (255 - theirs if way.monochrome1 else theirs)).max() <= 1
