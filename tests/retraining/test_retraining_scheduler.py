"""Two retrainings under the real scheduler of `make airflow`: started by announcements, hit by failures, repaired, cleared."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from pipeline import settings
from pipeline.data import phantom
from tests.retraining_fixture import clean_environment, copy_project, git, running
from tests.server_fixture import free_port, serve

RETRAIN, WATCH = "pneumonia_retrain", "chest_xray_watch"
NOTHING_ASKED = {"min_sensitivity": 0, "min_specificity": 0}
SETTINGS = {
    "preprocess": {"image_size": 96},
    "groups": {"validation_percent": 25},
    "train": {
        "common": {"epochs": 4},
        "runs": {
            "custom_cnn-raw-0": {
                "network": "custom_cnn", "group": "raw", "augmentation": "none", "seed": 0, "weights": "random",
            }
        },
        "planned": {},
    },
    "evaluate": {"resamples": 50, "sensitive": 0.3, "specific": 0.3},
    "gate": {
        "folds": 2, "min_patients": 2, "auc_margin": 1, "log_loss_margin": 100,
        "validation": NOTHING_ASKED, "stress": NOTHING_ASKED,
    },
}  # fmt: skip


class Airflow:
    """`make airflow` in a copy of the project, asked as a person or a program asks it."""

    def __init__(self, project: Path, environ: dict[str, str]) -> None:
        self.project, self.environ, self.port = project, environ, free_port()
        environ["AIRFLOW_PORT"] = str(self.port)
        self.log = project.parent / "airflow.log"
        with self.log.open("wb") as stream:
            self.process = subprocess.Popen(
                ["scripts/airflow.sh", "up"], cwd=project, env=environ, stdout=stream, stderr=subprocess.STDOUT,
                start_new_session=True,
            )  # fmt: skip
        login = self.wait(lambda: re.search(r"user (\S+)  password (\S+)", self.log.read_text()), "the login")
        self.client = httpx.Client(base_url=f"http://127.0.0.1:{self.port}", timeout=60)
        self.wait(self.healthy, "the scheduler")
        token = self.client.post("/auth/token", json={"username": login[1], "password": login[2]})
        assert token.status_code == 201, token.text
        self.client.headers["Authorization"] = f"Bearer {token.json()['access_token']}"

    def wait(self, ready: Callable[[], Any], what: str, seconds: float = 600) -> Any:
        until = time.monotonic() + seconds
        while not (answer := ready()):
            assert self.process.poll() is None, self.log.read_text()[-3000:]
            assert time.monotonic() < until, f"waited for {what}"
            time.sleep(0.5)
        return answer

    def healthy(self) -> bool:
        try:
            health = self.client.get("/api/v2/monitor/health").json()
        except (httpx.HTTPError, ValueError):
            return False
        return health["scheduler"]["status"] == health["dag_processor"]["status"] == "healthy"

    def get(self, address: str) -> Any:
        answer = self.client.get(f"/api/v2/{address}")
        return answer.json() if answer.status_code == 200 else {}

    def heartbeat(self) -> str:
        return self.get("monitor/health")["scheduler"]["latest_scheduler_heartbeat"]

    def runs(self, dag: str) -> list[dict[str, Any]]:
        return self.get(f"dags/{dag}/dagRuns").get("dag_runs", [])

    def state(self, run: str, task: str | None = None) -> str:
        where = f"dags/{RETRAIN}/dagRuns/{run}"
        return self.get(f"{where}/taskInstances/{task}" if task else where).get("state")

    def states(self, run: str) -> dict[str, str]:
        instances = self.get(f"dags/{RETRAIN}/dagRuns/{run}/taskInstances")
        return {task["task_id"]: task["state"] for task in instances["task_instances"]}

    def said(self, run: str, task: str) -> str:
        """The log of a task's last try."""
        place = self.project / ".airflow" / "logs" / f"dag_id={RETRAIN}" / f"run_id={run}" / f"task_id={task}"
        last = max(place.glob("attempt=*.log"), key=lambda path: int(path.stem.split("=")[1]))
        return "\n".join(str(json.loads(line).get("event")) for line in last.read_text().splitlines())

    def again(self, run: str, task: str) -> None:
        """As docs/operating.md says."""
        command = ["scripts/airflow.sh", "again"]
        done = subprocess.run(command, cwd=self.project, env=self.environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        assert run in done.stdout
        assert task in done.stdout

    def fails_then_goes_on(self, run: str, task: str, cause: str, repair: Callable[[], object]) -> None:
        """A task fails with one line that names the cause and a line that says what to do; repaired, it passes."""
        self.wait(lambda: self.state(run) == "failed", f"{task} to fail")
        assert self.state(run, task) == "failed", self.states(run)
        said = self.said(run, task)
        assert len(re.findall(r"^(?:\S+ )?retraining: ", said, re.MULTILINE)) == 1, said
        assert re.search(cause, said), said
        assert f"{task} failed in run {run}" in said
        assert "put that right and clear this task" in said
        repair()
        self.again(run, task)
        self.wait(lambda: self.state(run, task) == "success", f"{task} to pass")

    def listens_on(self) -> set[str]:
        """The addresses that its processes listen on."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        sockets = [socket for process in family for socket in process.net_connections("tcp")]
        return {socket.laddr.ip for socket in sockets if socket.status == psutil.CONN_LISTEN}

    def stop(self) -> None:
        self.process.terminate()  # as Ctrl-C does
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(timeout=60)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.fixture
def airflow(tmp_path: Path) -> Iterator[Airflow]:
    project = copy_project(tmp_path / "project", SETTINGS)
    dag = project / "dags" / "pneumonia_retrain.py"
    text = dag.read_text()
    assert '"retry_delay": timedelta(minutes=1)' in text
    dag.write_text(text.replace('"retry_delay": timedelta(minutes=1)', '"retry_delay": timedelta(seconds=1)'))
    git(project, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-a", "-m", "Try again at once")
    environ = clean_environment(CXR_DATA=str(tmp_path / "source"), RETRAIN_DELIVER="checkout", TRAINING_SLOTS="1")
    started = Airflow(project, environ)
    try:
        yield started
    finally:
        started.stop()
        until = time.monotonic() + 30
        while left := running(project):
            assert time.monotonic() < until, f"left running: {left}"
            time.sleep(0.2)


def write_source(folder: Path, train: int) -> None:
    """Generated images under the names of the real set: the same ones, and more where more are asked for."""
    shutil.rmtree(folder, ignore_errors=True)
    phantom.generate(settings.Phantom(seed=7, train=train, val=4, test=24), folder)


@pytest.mark.slow
def test_announced_failed_repaired_delivered(airflow: Airflow, tmp_path: Path) -> None:
    """About 6 minutes on two free cores."""
    source, models = tmp_path / "source", airflow.project / "models"

    # Un-paused, through several rounds of the scheduler: nothing starts.
    airflow.wait(lambda: airflow.get(f"dags/{RETRAIN}").get("is_paused") is False, "the DAG")
    assert airflow.listens_on() == {"127.0.0.1"}
    assert airflow.client.patch(f"/api/v2/dags/{WATCH}", json={"is_paused": False}).status_code == 200
    seen = {airflow.heartbeat()}
    airflow.wait(lambda: len(seen.add(airflow.heartbeat()) or seen) > 4, "rounds of the scheduler")
    assert airflow.runs(RETRAIN) == airflow.runs(WATCH) == []

    # Announced by a program; the source is not mounted yet.
    (asset,) = (listed for listed in airflow.get("assets")["assets"] if listed["name"] == "chest_xray_incoming")
    event = airflow.client.post("/api/v2/assets/events", json={"asset_id": asset["id"]})
    assert event.status_code == 200, event.text
    (run,) = airflow.wait(lambda: airflow.runs(RETRAIN), "the announced run")
    first = run["dag_run_id"]
    missing = rf"retraining: {re.escape(str(source))} is no folder"
    airflow.fails_then_goes_on(first, "detect_new_data", missing, lambda: write_source(source, 240))
    airflow.wait(lambda: airflow.state(first) in ("success", "failed"), "the first run", 1800)
    assert set(airflow.states(first).values()) == {"success"}, airflow.states(first)
    champion = (models / "CHAMPION").read_text().strip()
    assert "answers 8 images as it did offline" in airflow.said(first, "smoke_test")

    with serve(airflow.project) as server, asked(server.post, source) as answers:
        # Announced by the watching DAG, as its own night would: there are more images.
        write_source(source, 260)
        damaged = models / "champions" / champion / "predictions.csv"
        content = damaged.read_bytes()
        damaged.write_bytes(content[:-9])
        watch = airflow.client.post(f"/api/v2/dags/{WATCH}/dagRuns", json={"logical_date": None})
        assert watch.status_code == 200, watch.text
        airflow.wait(lambda: len(airflow.runs(RETRAIN)) == 2, "the run after the watch")
        (second,) = {run["dag_run_id"] for run in airflow.runs(RETRAIN)} - {first}
        cause = rf"champion is damaged \({champion}/predictions.csv.*`git checkout -- models/champions/{champion}`"
        airflow.fails_then_goes_on(second, "plan", cause, lambda: damaged.write_bytes(content))
        airflow.wait(lambda: airflow.state(second) in ("success", "failed"), "the second run", 1800)
        assert set(airflow.states(second).values()) == {"success"}, airflow.states(second)
        newer = (models / "CHAMPION").read_text().strip()
        assert newer != champion
        airflow.wait(lambda: answers[-1] == (200, newer), "the service to answer as the new champion")
        assert {code for code, _ in answers} == {200}, "the champion stopped serving"
        assert list(dict.fromkeys(version for _, version in answers)) == [champion, newer]
    changed = {line.split()[-1].split("/")[0] for line in git(airflow.project, "status", "--porcelain").splitlines()}
    assert changed <= {"models", "metrics", "server.log"}, "a retraining changed more of the checkout than its champion"


@contextlib.contextmanager
def asked(post: Callable[[bytes], httpx.Response], source: Path) -> Iterator[list[tuple[int, str]]]:
    """Ask the service again and again while the block runs: status and version of each answer."""
    image = next((source / "test" / "PNEUMONIA").iterdir()).read_bytes()
    answers: list[tuple[int, str]] = []
    done = threading.Event()

    def ask() -> None:
        while not done.wait(0.3):
            answer = post(image)
            answers.append((answer.status_code, answer.json().get("model_version", "")))

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        yield answers
    finally:
        done.set()
        asking.join()
