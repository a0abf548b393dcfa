"""The arrays of the published data set are equal to the byte, whatever the reader learns to read."""

import hashlib
import os
from pathlib import Path

import pytest

from pipeline.data.arrays import write_array

# SHA-256 of the pixels that release 0.1.0 decoded, images sorted by path below train, val and test.
DIGESTS = {
    "train": "60000d75b44eab1bc874a233ba676746b045b1d1b22400a37a268d594726becd",
    "val": "a6525a8bf54e36a1cc0b9c2a91ec1eecf3770791de02499ba1b969fc5ea1b0ad",
    "test": "608196d3badb54b280db96e6c963007b28d359b65212aa6aaee140ad4051fb15",
}
COUNTS = {"train": 5216, "val": 16, "test": 624}
SIDE = 128


@pytest.mark.skipif("CXR_DATA" not in os.environ, reason="CXR_DATA names no folder with the real images")
@pytest.mark.parametrize("split", DIGESTS)
def test_the_arrays_are_those_of_the_release(split: str, tmp_path: Path) -> None:
    images = sorted((Path(os.environ["CXR_DATA"]) / split).rglob("*.jpeg"))
    if len(images) != COUNTS[split]:
        pytest.skip(f"{len(images)} images in {split}: not the published data set of {COUNTS[split]}")
    write_array(images, SIDE, tmp_path / "array.npy")
    assert hashlib.sha256((tmp_path / "array.npy").read_bytes()).hexdigest() == DIGESTS[split]
