"""The criteria of the data set: a good set meets all, each can be missed, and one that is not met stops the pipeline."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml

from pipeline import settings
from pipeline.data import expectations, layouts, manifest, phantom, sources
from pipeline.data.tables import read_table
from pipeline.settings import Criteria, Phantom

HOME = Path(__file__).resolve().parents[2]
TINY = Phantom(seed=9, train=16, val=4, test=8)
CRITERIA = [field.alias or name for name, field in Criteria.model_fields.items()]
REAL = os.environ.get("CXR_DATA")


@pytest.fixture(scope="module")
def validate() -> settings.Validate:
    return settings.load(HOME / "params.yaml").validation


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Phantoms of one size and colour mode; read-only."""
    folder = tmp_path_factory.mktemp("set") / "raw"
    phantom.generate(TINY, folder)
    for path in sources.image_paths(folder):
        image = phantom.radiograph(TINY.seed, path).convert("L").resize((200, 160))
        image.save(folder / path, format="JPEG", quality=phantom.QUALITY)
    return folder


@pytest.fixture(scope="module")
def good(raw: Path, validate: settings.Validate) -> pd.DataFrame:
    table = raw.parent / "manifest.csv"
    manifest.build(raw, table, raw.parent / "quarantine.csv", validate.min_side, validate.max_pixels)
    return pd.read_csv(table)


def _unmet(
    table: pd.DataFrame, validate: settings.Validate, folder: Path, refused: int = 0
) -> dict[str, expectations.Unmet]:
    table.to_csv(folder / "manifest.csv", index=False)
    lines = [f"train/NORMAL/{number}.jpeg,zero bytes" for number in range(refused)]
    (folder / "quarantine.csv").write_text("\n".join(["path,reason", *lines, ""]))
    files = folder / "manifest.csv", folder / "quarantine.csv"
    context = expectations.new_context(folder / "docs")
    unmet = expectations.check(context, *files, phantom.counts(TINY), validate)
    return {each.criterion: each for each in unmet}


def test_a_good_set_meets_every_criterion_and_nobody_is_told(
    good: pd.DataFrame, validate: settings.Validate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    monkeypatch.setattr(socket.socket, "connect", lambda _, address: calls.append(address))
    assert _unmet(good, validate, tmp_path) == {}
    assert calls == [] and os.environ["GX_ANALYTICS_ENABLED"] == "False"  # no telemetry


def _rows(table: pd.DataFrame, part: str) -> pd.Series:
    return table["path"].str.startswith(part)


def _set(
    column: str, value: object, part: str = "train/PNEUMONIA", rows: int = 1
) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Write `value` into the first rows of a class."""

    def breach(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype({column: object})
        table.loc[table.index[_rows(table, part)][:rows], column] = value
        return table

    return breach


def _copy(column: str, source: str, target: str) -> Callable[[pd.DataFrame], pd.DataFrame]:
    """Give the first image of one class what the first of another has."""

    def breach(table: pd.DataFrame) -> pd.DataFrame:
        table = table.copy()
        value = table.loc[_rows(table, source), column].iloc[0]
        table.loc[table.index[_rows(table, target)][-1], column] = value
        return table

    return breach


BREACHES: dict[str, list[Callable[[pd.DataFrame], pd.DataFrame]]] = {
    "schema": [lambda table: table.drop(columns="mode"), _set("sha256", "none"), _set("patient", None), _set("width", 0)],
    "labels": [_set("label", "COVID"), _set("subtype", "unknown"), _copy("sha256", "train/NORMAL", "train/PNEUMONIA")],
    "splits": [_set("split", "holdout"), lambda table: table[~_rows(table, "val/")]],
    "class_present": [lambda table: table[~_rows(table, "test/NORMAL")]],
    "patient_in_one_split": [_copy("patient", "train/PNEUMONIA", "test/PNEUMONIA")],
    "duplicates_across_splits": [_copy("sha256", "train/PNEUMONIA", "val/PNEUMONIA")],
    "usable": [lambda table: table],
    "duplicates_within_split": [_copy("sha256", "train/PNEUMONIA", "train/PNEUMONIA")],
    "class_ratio": [lambda table: table[~_rows(table, "train/PNEUMONIA") | (table.index % 6 == 0)]],
    "mode": [_set("mode", "RGB"), _set("mode", "CMYK", "", 28)],
    "size": [_set("width", 4000), _set("width", 90, "train/NORMAL", 99)],
    "count": [lambda table: table[1:]],
}  # fmt: skip


def test_each_criterion_has_a_breach() -> None:
    assert sorted(BREACHES) == sorted(CRITERIA)


@pytest.mark.parametrize(("criterion", "number"), [(name, n) for name in CRITERIA for n in range(len(BREACHES[name]))])
def test_every_criterion_can_be_missed(
    criterion: str, number: int, good: pd.DataFrame, validate: settings.Validate, tmp_path: Path
) -> None:
    unmet = _unmet(BREACHES[criterion][number](good), validate, tmp_path, refused=9 if criterion == "usable" else 0)
    assert criterion in unmet
    assert unmet[criterion].level == validate.criteria.model_dump(by_alias=True)[criterion]
    assert unmet[criterion].found


def test_the_settings_say_what_an_unmet_criterion_means(
    good: pd.DataFrame, validate: settings.Validate, tmp_path: Path
) -> None:
    for level in ("error", "warning"):
        criteria = validate.criteria.model_copy(update={"count": level})
        strict = validate.model_copy(update={"criteria": criteria})
        assert _unmet(good[1:], strict, tmp_path)["count"].level == level


# Through the stage, on files


def _project(folder: Path, raw: Path) -> Path:
    parameters = yaml.safe_load((HOME / "params.yaml").read_text())
    sizes = {"seed": TINY.seed, "train": TINY.train, "val": TINY.val, "test": TINY.test}
    parameters["ingest"] = {"dataset": "phantom", "phantom": sizes}
    shutil.copytree(raw, folder / "data" / "raw")
    (folder / "params.yaml").write_text(yaml.safe_dump(parameters))
    return folder


def _run(root: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pipeline.stages.validate"]
    environment = os.environ | {"PIPELINE_ROOT": str(root)}
    return subprocess.run(command, check=False, cwd=HOME, env=environment, capture_output=True, text=True)


def test_a_planted_leak_stops_the_pipeline_and_a_warning_does_not(raw: Path, tmp_path: Path) -> None:
    root = _project(tmp_path / "leak", raw)
    leaked = next(path for path in sources.image_paths(raw) if path.startswith("train/PNEUMONIA"))
    name = Path(leaked).name.replace(".jpeg", "1.jpeg")  # another image number of the same patient
    (root / "data" / "raw" / "test" / "PNEUMONIA" / name).write_bytes((raw / leaked).read_bytes() + b"\0")
    (root / "data" / "raw" / "train" / "NORMAL" / "IM-0001-0009.jpeg").write_bytes(b"")
    result = _run(root)
    assert result.returncode == 1
    line = result.stderr.splitlines()[-1]
    assert line.startswith("validate: the data set does not meet its criteria: ") and "Traceback" not in result.stderr
    assert "patient_in_one_split" in line and leaked in line and "index.html" in line
    assert "usable" in line  # all that failed is listed
    assert "count" not in line and "warning: count" in result.stderr
    assert read_table(root / "data" / "manifest" / "quarantine.csv") == [
        {"path": "train/NORMAL/IM-0001-0009.jpeg", "reason": "zero bytes"}
    ]
    docs = root / "reports" / "validation"
    assert (docs / "index.html").is_file()
    assert any("splits_of_patient" in page.read_text() for page in docs.glob("validations/**/*.html"))

    (root / "data" / "raw" / "test" / "PNEUMONIA" / name).unlink()
    (root / "data" / "raw" / "train" / "NORMAL" / "IM-0001-0009.jpeg").unlink()
    (root / "data" / "raw" / next(sources.image_paths(raw))).unlink()  # one image less is a warning
    result = _run(root)
    assert result.returncode == 0, result.stderr
    assert "warning: count" in result.stderr


# On the real set


@pytest.mark.skipif(not REAL, reason="CXR_DATA is not set: the criteria were NOT checked on the real images")
def test_the_real_set_is_the_published_one(validate: settings.Validate, tmp_path: Path) -> None:
    sources.take(layouts.find(Path(str(REAL))).images, tmp_path / "raw", link=False)
    files = tmp_path / "manifest.csv", tmp_path / "quarantine.csv"
    manifest.build(tmp_path / "raw", *files, validate.min_side, validate.max_pixels)
    table = pd.read_csv(files[0])
    assert len(table) == 5856 and read_table(files[1]) == []
    named = table["path"].map(lambda path: manifest.patient_of(Path(path).name)[0])
    assert named.groupby(table["split"]).nunique().to_dict() == {"train": 3654, "val": 15, "test": 428}
    copies = table[table.duplicated("sha256", keep=False)].groupby("sha256")
    assert copies["split"].first().value_counts().to_dict() == {"train": 24, "test": 6}
    assert (copies["patient"].nunique() == 1).all() and (copies["split"].nunique() == 1).all()
    unmet = expectations.check(expectations.new_context(tmp_path), *files, sources.PUBLISHED, validate)
    assert [each.criterion for each in unmet if each.level == "error"] == []
    assert "duplicates_within_split" in [each.criterion for each in unmet]
