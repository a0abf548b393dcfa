"""The only place that knows where files lie. Every path is below `ROOT`, the checkout or a workspace."""

import os
from pathlib import Path

ROOT = Path(os.environ.get("PIPELINE_ROOT") or Path(__file__).resolve().parents[1])

PARAMS = ROOT / "params.yaml"
LOCK = ROOT / "dvc.lock"
CACHE = ROOT / ".cache"  # half-done work: checkpoints, partial downloads; in no stage's outputs
WORKSPACES = ROOT / ".work"

DATA = ROOT / "data"
RAW = DATA / "raw"  # train|val|test / NORMAL|PNEUMONIA / *.jpeg
DATASET = DATA / "dataset.json"  # which data set, which edition, its digest
MANIFEST = DATA / "manifest" / "manifest.csv"
QUARANTINE = DATA / "manifest" / "quarantine.csv"
ARRAYS = DATA / "arrays"  # development.npy, test.npy and an index (.csv) for each
GROUPS = DATA / "groups"  # validation.csv and one row list for each group

RUNS = ROOT / "models" / "runs"
CANDIDATE = ROOT / "models" / "candidate"
CHAMPIONS = ROOT / "models" / "champions"
CHAMPION = ROOT / "models" / "CHAMPION"
PROMOTIONS = ROOT / "models" / "promotions.jsonl"
PROFILES = ROOT / "models" / "profiles"  # <name>.json: how a site reads the score of one champion

PREDICTIONS = ROOT / "predictions"  # one folder a run: images.csv, stress.csv, history.csv, run.json
METRICS = ROOT / "metrics"  # study.json, tables; runs/<run>.json
SALIENCY = METRICS / "explain" / "summary.json"  # which checks the maps of the released run passed
PLOTS = ROOT / "plots"  # figures and curves that show no single patient: kept in git
REPORTS = ROOT / "reports"  # sheets that show single images, the full report: outside git


def array(part: str) -> Path:
    """Pixels of `development` (official train and val) or `test`: uint8 [images, side, side]."""
    return ARRAYS / f"{part}.npy"


def index(part: str) -> Path:
    """The manifest rows of an array, in its order."""
    return ARRAYS / f"{part}.csv"


def group(name: str) -> Path:
    """The row list of a data group, or of `validation`: columns row, label."""
    return GROUPS / f"{name}.csv"


def network(run: str) -> Path:
    """The trained weights of a run."""
    return RUNS / run / "network.weights.h5"


def predictions(run: str) -> Path:
    """The folder with what a run said of each image."""
    return PREDICTIONS / run
