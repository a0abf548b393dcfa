"""A site's profile as it is served: in every answer, in /model, on drift; and refused where it does not belong."""

import json
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from PIL import Image

from pipeline import paths
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.outcomes import INDETERMINATE, NONE, SIGNS
from pipeline.serving import drift, journal, profile
from tests.champion_fixture import write_champion
from tests.image_fixture import encoded
from tests.server_fixture import CHECKOUT, Server, serve

INTERCEPT, SLOPE, PREVALENCE = -1.5, 0.5, 0.3
LOWER, UPPER = 0.7, 0.9  # the champion's own are 0.4 and 0.6
EDGES = [round(0.1 * place, 1) for place in range(1, 10)]


def content(champion: str, **changes: Any) -> dict[str, Any]:
    limits = {name: {"score": score, "criterion": "a test"} for name, score in (("lower", LOWER), ("upper", UPPER))}
    return {
        "name": "a-site",
        "champion": champion,
        "images": 100,
        "patients": {"normal": 40, "pneumonia": 50},
        "recalibration": {"intercept": INTERCEPT, "slope": SLOPE},
        "thresholds": limits,
        "prevalence": PREVALENCE,
        "scores": {"edges": EDGES, "counts": [10] * 10},
        "report": {"auc": [0.9, 0.8, 0.95]},
    } | changes


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    return at(tmp_path, monkeypatch)


def at(root: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(paths, "ROOT", root)
    monkeypatch.setattr(paths, "PROFILES", root / "models" / "profiles")
    return root


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    root = tmp_path_factory.mktemp("profiled")
    folder = write_champion(root)
    with pytest.MonkeyPatch.context() as patch:
        at(root, patch)
        profile.write(content(folder.name))
    with serve(root, SERVE_PROFILE="a-site", SERVE_LOG="answers.sqlite") as running:
        yield running


def flat(value: int) -> bytes:
    return encoded(Image.new("L", (90, 90), value), "PNG")


@pytest.mark.parametrize("route", ["/predict", "/explain"])
@pytest.mark.parametrize("value", [20, 127, 160, 175, 240])
def test_every_answer_is_the_profiles_and_says_so(server: Server, route: str, value: int) -> None:
    told = server.post(flat(value), route).json()
    logit = math.log(told["score"] / (1 - told["score"]))
    assert told["score"] == pytest.approx(1 / (1 + math.exp(-8 * (value / 255 - 0.5))), abs=1e-5), "the champion's own"
    assert told["probability"] == pytest.approx(1 / (1 + math.exp(-INTERCEPT - SLOPE * logit)), abs=1e-6)
    assert told["prevalence"] == PREVALENCE
    assert told["thresholds"] == {"lower": LOWER, "upper": UPPER}
    assert told["outcome"] == (SIGNS if told["score"] >= UPPER else INDETERMINATE if told["score"] >= LOWER else NONE)
    assert told["profile"].startswith("a-site-")
    assert (
        f"by the site profile {told['profile']}, fitted on 100 images (40 patients without and 50 with"
        in told["notice"]
    )


def test_the_model_says_so(server: Server) -> None:
    card = server.get("/model").json()
    described = card["profile"]
    assert described["version"] == server.post(flat(127)).json()["profile"]
    assert described["champion"] == card["version"] and described["report"] == {"auc": [0.9, 0.8, 0.95]}
    assert [card["thresholds"][name]["score"] for name in ("lower", "upper")] == [LOWER, UPPER]


def test_another_champion_is_refused_and_the_old_one_goes_on(server: Server) -> None:
    """The last test of this server: the pointer moves for good."""
    first = server.get("/model").json()["version"]
    second = write_champion(server.root, run="second", slope=4.0).name
    while not (card := server.get("/model").json())["refused"]:
        assert server.process.poll() is None
    assert card["version"] == first and card["refused"]["version"] == second
    assert f"the site profile a-site was fitted on champion {first}, not on {second}" in card["refused"]["reason"]
    assert server.post(flat(127)).json()["model_version"] == first


def test_a_service_does_not_become_ready_with_the_profile_of_another_champion(root: Path) -> None:
    write_champion(root)
    profile.write(content("another-12345678"))
    with serve(root, until="/livez", SERVE_PROFILE="a-site") as running:
        refused = running.get("/readyz")
        assert refused.status_code == 503 and "was fitted on champion another-12345678" in refused.text
        assert running.post(flat(127)).status_code == 503


def changed(text: str) -> str:
    return json.dumps(json.loads(text) | {"prevalence": 0.9})


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (None, "models/profiles/a-site.json is missing"),
        (lambda text: text[:100], "is no valid JSON"),
        (lambda text: "[1]", "models/profiles/a-site.json: top level: [1] must be a mapping"),
        (lambda text: text.replace('"slope": 0.5', '"slope": -0.5'), "slope: -0.5 must be greater than 0"),
        (lambda text: text.replace('"slope": 0.5', '"slope": NaN'), "slope: nan must be"),
        (lambda text: text.replace('"score": 0.9', '"score": 0.1'), "lies above the upper one"),
        (changed, "was changed since it was made"),
    ],
)  # fmt: skip
def test_a_damaged_profile_ends_the_start_in_one_line(root: Path, damage: Any, says: str) -> None:
    folder = write_champion(root)
    profile.write(content(folder.name))
    path = root / "models" / "profiles" / "a-site.json"
    if damage is None:
        path.unlink()
    else:
        path.write_text(damage(path.read_text()))
    with pytest.raises(ProjectError) as refused:
        profile.read("a-site")
    assert says in str(refused.value) and "\n" not in str(refused.value)


def test_the_service_says_it_at_its_start(tmp_path: Path) -> None:
    write_champion(tmp_path)
    shutil.copy(CHECKOUT / "params.yaml", tmp_path)
    environment = {**os.environ, "PIPELINE_ROOT": str(tmp_path), "SERVE_PROFILE": "nobody"}
    command = [sys.executable, "-m", "bentoml", "serve", "pipeline.serving.service:Pneumonia", "--port", "0"]
    told = subprocess.run(
        command, env=environment, cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=120
    )
    assert told.returncode != 0 and "serve: models/profiles/nobody.json is missing" in told.stderr + told.stdout


def test_a_profile_under_another_name_is_refused(root: Path) -> None:
    profile.write(content("c"))
    folder = root / "models" / "profiles"
    shutil.copy(folder / "a-site.json", folder / "other.json")
    with pytest.raises(ProjectError, match="changed since it was made"):
        profile.read("other")


@hypothesis_settings(deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_the_probability_keeps_the_order_and_stays_a_probability(left: float, right: float) -> None:
    site_profile = profile.Profile.model_validate({"format": 1, "digest": "0" * 64, **content("c")})
    low, high = sorted((left, right))
    assert 0 < site_profile.probability(low) <= site_profile.probability(high) < 1


def log(path: Path, probabilities: np.ndarray, version: str) -> None:
    kept = journal.Journal(path)
    for probability in probabilities:
        kept.add(b"pixels", float(probability), version)
    kept.close()


@pytest.mark.parametrize(("top", "status"), [(1.0, 0), (0.4, 1)])
def test_drift_compares_with_the_profiles_own_images(root: Path, top: float, status: int) -> None:
    """Answers of another champion have no part in it, nor do the log's own first ones."""
    profile.write(content("the-champion"))
    shutil.copy(CHECKOUT / "params.yaml", root)
    random = np.random.default_rng(0)
    log(root / "log.sqlite", random.uniform(0, top, 600), "the-champion")
    log(root / "log.sqlite", np.full(600, 0.99), "another")
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "SERVE_LOG": "log.sqlite", "SERVE_PROFILE": "a-site"}
    command = [sys.executable, "-m", "pipeline.serving.drift"]
    told = subprocess.run(
        command, env=environment | {"PYTHONPATH": str(CHECKOUT)}, cwd=root, capture_output=True, text=True, check=False
    )
    assert told.returncode == status, told.stderr
    assert "500 last answers against the 100 images of site profile a-site-" in told.stdout
    assert ("CHANGED" if status else "no change") in told.stdout


def test_chance_alone_passes_the_limit_once_in_a_hundred_times(root: Path) -> None:
    random = np.random.default_rng(1)
    passed = 0
    for _ in range(400):
        scores = random.uniform(0, 1, 80)
        edges = drift.tenths(scores)
        counts = drift.counts(edges, scores).tolist()
        written = profile.write(content("c", scores={"edges": edges.tolist(), "counts": counts}))
        passed += drift.with_profile(written, random.uniform(0, 1, 300), 0.2)
    assert passed <= 12


def test_too_few_answers_are_no_comparison(root: Path) -> None:
    log(root / "log.sqlite", np.full(249, 0.5), "c")
    with pytest.raises(ProjectError, match="249 answers of c; 250 are needed"):
        drift.read_last(root / "log.sqlite", 500, "c")
    with pytest.raises(ProjectError, match="no log of answers"):
        drift.read_last(root / "nothing.sqlite", 500, "c")


def test_predict_reads_by_the_profile_of_params_yaml(root: Path) -> None:
    folder = write_champion(root)
    profile.write(content(folder.name))
    (root / "radiograph.png").write_bytes(flat(160))
    written = yaml.safe_load((CHECKOUT / "params.yaml").read_text())
    environment = {**os.environ, "PIPELINE_ROOT": str(root), "PYTHONPATH": str(CHECKOUT)}
    command = [sys.executable, "-m", "pipeline.external_validation.predict", "--out", "out.csv", "radiograph.png"]
    outcomes = []
    for chosen in (None, "a-site"):
        written["serve"]["profile"] = chosen
        (root / "params.yaml").write_text(yaml.safe_dump(written))
        told = subprocess.run(command, env=environment, cwd=root, capture_output=True, text=True, check=False)
        assert told.returncode == 0, told.stderr
        (row,) = read_table(root / "out.csv")
        outcomes.append(row["outcome"])
    assert outcomes == [SIGNS, INDETERMINATE]
