"""What Prometheus may read at /metrics: numbers about answers, none about a picture."""

import atexit
import os
import shutil
import tempfile
import time

# BentoML gives all servers of a user one folder and empties it at every start. Ours is the server's own: made by the
# parent process, handed to its workers, and named before prometheus_client is imported, which reads it once.
if "SERVE_METRICS_FOLDER" not in os.environ:
    os.environ["SERVE_METRICS_FOLDER"] = tempfile.mkdtemp(prefix="pneumonia-metrics-")
    atexit.register(shutil.rmtree, os.environ["SERVE_METRICS_FOLDER"], ignore_errors=True)
os.environ["PROMETHEUS_MULTIPROC_DIR"] = os.environ["SERVE_METRICS_FOLDER"]

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

REQUESTS = Counter("pneumonia_requests", "Requests answered.", ["route", "status"])
SECONDS = Histogram(
    "pneumonia_request_seconds",
    "From a request's first byte to its answer.",
    ["route"],
    buckets=(0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
OUTCOMES = Counter("pneumonia_outcomes", "Outcomes given.", ["outcome"])
REFUSALS = Counter("pneumonia_refusals", "Requests refused, by the word in `error`.", ["error"])
SCORE = Histogram(
    "pneumonia_score",
    "Scores given.",
    buckets=[tenth / 10 for tenth in range(1, 11)],
)
LOADED = Gauge(
    "pneumonia_model_loaded_seconds",
    "When a worker last loaded this version, in seconds since 1970; the latest is the one that serves.",
    ["version"],
    multiprocess_mode="mostrecent",
)
REFUSED = Gauge(
    "pneumonia_champion_refused",
    "1 while a worker refuses the version that models/CHAMPION names; the worker that looked last counts.",
    multiprocess_mode="mostrecent",
)


def loaded(version: str) -> None:
    """A worker has begun to serve this version."""
    LOADED.labels(version).set(time.time())


def text() -> bytes:
    """All workers' numbers in Prometheus' text format."""
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
