"""The benchmark that asks the champion about images at their original size and about their small twins."""

from pathlib import Path

import pytest
from PIL import Image

from benchmarks.reader import resolution
from pipeline.errors import ProjectError
from tests.image_fixture import scene


def test_originals_are_compared_with_their_twins_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for folder in ("data", "originals", "others"):
        (tmp_path / folder).mkdir()
    monkeypatch.setenv("CXR_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("CXR_ORIGINALS", str(tmp_path / "originals"))
    image = Image.fromarray(scene(600, 600))
    for name in ("equal.jpeg", "other.jpeg", "alone.jpeg"):
        image.save(tmp_path / "originals" / name)
    image.save(tmp_path / "data" / "equal.jpeg")
    image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(tmp_path / "data" / "other.jpeg")
    facts = resolution()
    assert facts["images"] == 2
    assert facts["largest_apart"] == pytest.approx(2 * facts["mean_apart"], abs=2e-4) and facts["largest_apart"] > 0
    monkeypatch.setenv("CXR_ORIGINALS", str(tmp_path / "others"))
    with pytest.raises(ProjectError, match="no image that CXR_DATA has too"):
        resolution()
