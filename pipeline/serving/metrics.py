"""What Prometheus may read at /metrics: numbers about answers, none about an image.

The workers share their numbers by files in one folder. Where it cannot be written, each worker keeps its own in memory, says
so, and shares them as soon as it can: a full disk, or a folder that was swept away, stops no answer.
"""

import atexit
import contextlib
import logging
import os
import secrets
import shutil
import tempfile
import time
from pathlib import Path

KINDS = ("counter", "histogram", "gauge_livesum", "gauge_livemax", "gauge_mostrecent")  # files of prometheus_client
CAPACITY = 2**17  # bytes of each: several times what the numbers below fill
SHARED = "PROMETHEUS_MULTIPROC_DIR"

log = logging.getLogger("bentoml.pneumonia")


def _new_folder() -> str:
    """A folder for this server alone; where none can be made now, the name of one that a worker may make later."""
    for parent in (None, "/dev/shm"):  # noqa: S108 - memory, where no disk will do
        with contextlib.suppress(OSError):
            folder = tempfile.mkdtemp(prefix="pneumonia-metrics-", dir=parent)
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return folder
    return f"{os.environ.get('TMPDIR') or '/tmp'}/pneumonia-metrics-{secrets.token_hex(8)}"  # noqa: S108


# BentoML gives all servers of a user one folder and empties it at every start. Ours is the server's own: made by the
# parent process, handed to its workers, and named before prometheus_client is imported, which reads it once.
if "SERVE_METRICS_FOLDER" not in os.environ:
    os.environ["SERVE_METRICS_FOLDER"] = _new_folder()
FOLDER = Path(os.environ["SERVE_METRICS_FOLDER"])


def _reserve() -> str:
    """Take the disk space of this process' files; "" or why there is none.

    prometheus_client maps files whose blocks are not there yet: to write one on a full disk kills the process (SIGBUS).
    """
    mine = [FOLDER / f"{kind}_{os.getpid()}.db" for kind in KINDS]
    try:
        FOLDER.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in mine:
            path.unlink(missing_ok=True)  # of a dead process that had this number
            with path.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, CAPACITY)
    except OSError as error:
        for path in mine:
            with contextlib.suppress(OSError):
                path.unlink()
        return f"the workers' numbers for /metrics cannot be shared: {FOLDER}: {error.strerror}"
    return ""


trouble = _reserve()  # why this worker's numbers are not shared
os.environ[SHARED] = str(FOLDER)
if trouble:
    del os.environ[SHARED]

from prometheus_client import (  # noqa: E402 - after the folder
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
    multiprocess,
    values,
)

REQUESTS: Counter
SECONDS: Histogram
OUTCOMES: Counter
REFUSALS: Counter
SCORE: Histogram
LOADED: Gauge
WORKERS: Gauge
REFUSED: Gauge
_own: CollectorRegistry
_version = ""  # that this worker answers with
_refused = False
_said = ""  # the trouble that the log tells of


def _make() -> None:
    """Every number, from zero."""
    global REQUESTS, SECONDS, OUTCOMES, REFUSALS, SCORE, LOADED, WORKERS, REFUSED, _own
    _own = CollectorRegistry()
    REQUESTS = Counter("pneumonia_requests", "Requests answered.", ["route", "status"], registry=_own)
    SECONDS = Histogram(
        "pneumonia_request_seconds",
        "From a request's first byte to its answer.",
        ["route"],
        buckets=(0.005, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
        registry=_own,
    )
    OUTCOMES = Counter("pneumonia_outcomes", "Outcomes given.", ["outcome"], registry=_own)
    REFUSALS = Counter("pneumonia_refusals", "Requests refused, by the word in `error`.", ["error"], registry=_own)
    SCORE = Histogram("pneumonia_score", "Scores given.", buckets=[tenth / 10 for tenth in range(1, 11)], registry=_own)
    LOADED = Gauge(
        "pneumonia_model_loaded_seconds",
        "When a worker last loaded this version, in seconds since 1970; the latest is the one that serves.",
        ["version"],
        multiprocess_mode="mostrecent",
        registry=_own,
    )
    WORKERS = Gauge(
        "pneumonia_model_workers",
        "Workers that answer with this version.",
        ["version"],
        multiprocess_mode="livesum",
        registry=_own,
    )
    REFUSED = Gauge(
        "pneumonia_champion_refused",
        "1 while a worker refuses what models/CHAMPION names.",
        multiprocess_mode="livemax",
        registry=_own,
    )


_make()


def loaded(version: str) -> None:
    """This worker has begun to answer with this version."""
    global _version
    if _version:
        WORKERS.labels(_version).set(0)
    _version = version
    LOADED.labels(version).set(time.time())
    WORKERS.labels(version).set(1)


def refused(is_so: bool) -> None:
    """Whether this worker refuses what models/CHAMPION names."""
    global _refused
    _refused = is_so
    REFUSED.set(is_so)


def keep_shared() -> None:
    """Share this worker's numbers again where they are not, or no more: from zero, as after a restart."""
    global trouble, _said
    if not trouble and all((FOLDER / f"{kind}_{os.getpid()}.db").exists() for kind in KINDS):
        return
    was_shared, trouble = not trouble, _reserve()
    if trouble and trouble != _said:
        log.error("%s; until they can, each worker has its own", trouble)
    _said = trouble
    if not trouble:
        log.warning("the workers' numbers for /metrics are shared in %s, from zero", FOLDER)
        os.environ[SHARED] = str(FOLDER)
        values.ValueClass = values.MultiProcessValue()
    elif was_shared:
        os.environ.pop(SHARED, None)
        values.ValueClass = values.MutexValue
    else:
        return
    _make()
    if _version:
        loaded(_version)
    refused(_refused)


def text() -> bytes:
    """All workers' numbers in Prometheus' text format; this worker's alone while they cannot be shared."""
    if trouble or not FOLDER.is_dir():
        return generate_latest(_own)
    for path in FOLDER.glob("gauge_live*.db"):
        process = path.stem.rpartition("_")[2]
        if not Path("/proc", process).exists() and Path("/proc/self").exists():  # it died without a word
            multiprocess.mark_process_dead(int(process), str(FOLDER))
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return generate_latest(registry)
