"""The profile `full`: one retraining on generated radiographs, on two workers, one of them killed in between.

PostgreSQL and Redis come from Debian's packages and the S3 API from moto (tests/containers/engines), Airflow, workers,
MLflow and the service from docker/. About 10 minutes on two free cores, the builds left out.
"""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.containers_fixture import BASE, NETWORK, ROOT, Stack, checkout, docker, pinned_base, stack, wait

pytestmark = [pytest.mark.containers, pytest.mark.slow]
HERE = Path(__file__).parent
DAG = "/api/v2/dags/pneumonia_retrain"
PATIENCE = 3600  # seconds for a whole retraining
RUNS = {
    f"custom_cnn-{group}-0": {
        "network": "custom_cnn", "group": group, "augmentation": recipe, "seed": 0, "weights": "random",
    }
    for group, recipe in (("raw", "none"), ("augmented", "geometric"), ("balanced", "geometric"))
}  # fmt: skip
NOTHING = {"min_sensitivity": 0, "min_specificity": 0}
SETTINGS = {
    "ingest": {"dataset": "phantom", "phantom": {"train": 240, "val": 4, "test": 40}},
    "evaluate": {"resamples": 50},
    "gate": {"validation": NOTHING, "stress": NOTHING},
}
PARTS = {"postgres": "5432", "redis": "6379", "store": "7070", "mlflow-shared": "5000", "airflow-api": "8080"}
REACHED: dict[str, set[str]] = {  # who reaches which of them
    "service": set(),
    "mlflow-shared": {"postgres", "store", "mlflow-shared"},
    "worker": {"redis", "store", "airflow-api"},
    "head": {"redis", "store", "airflow-api", "mlflow-shared"},
    "airflow-scheduler": {"postgres", "redis", "airflow-api"},
}
LISTEN = """
import socket
ear = socket.socket(type=socket.SOCK_DGRAM)
ear.bind(("0.0.0.0", 8125))
while True:
    print(ear.recv(65536).decode(), flush=True)
"""


class Full(Stack):
    """The running profile, a clone that it works on, and Airflow's API."""

    root: Path
    secrets: dict[str, str]

    def airflow(self, method: str, path: str, **options: Any) -> Any:
        """What Airflow's API answers to its user."""
        address = self.address("airflow-api", 8080)
        password = json.loads(self.inside("airflow-api", "cat", "/airflow/passwords.json"))["admin"]
        login = httpx.post(f"{address}/auth/token", json={"username": "admin", "password": password}, timeout=60)
        bearer = {"Authorization": f"Bearer {login.json()['access_token']}"}
        answer = httpx.request(method, address + path, headers=bearer, timeout=120, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text[:1000]}"
        return answer.json()

    def trigger(self, run: str, conf: dict[str, Any]) -> None:
        """Ask for a retraining."""
        self.airflow("POST", f"{DAG}/dagRuns", json={"dag_run_id": run, "logical_date": None, "conf": conf})

    def state(self, run: str) -> str:
        """The state of a run, when it has ended; nothing before."""
        state = self.airflow("GET", f"{DAG}/dagRuns/{run}")["state"]
        return state if state in ("success", "failed") else ""

    def tasks(self, run: str) -> list[dict[str, Any]]:
        """The task instances of a run."""
        return self.airflow("GET", f"{DAG}/dagRuns/{run}/taskInstances?limit=100")["task_instances"]


def small_study(root: Path) -> Path:
    """The clone with a table of three runs, committed: a branch takes all lines of the table."""
    params = root / "params.yaml"
    written = yaml.safe_load(params.read_text())
    written["train"]["runs"] = RUNS
    params.write_text(yaml.safe_dump(written, sort_keys=False))
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, "commit", "--quiet", "--all", "-m", "three runs"], cwd=root, check=True)
    return root


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Full]:
    root = small_study(checkout(tmp_path_factory.mktemp("checkout") / "project"))
    written = subprocess.run([root / "docker" / "secrets.sh"], capture_output=True, text=True, check=True).stdout
    environ = written.replace("STATSD_HOST=", "STATSD_HOST=ear")
    moto = re.search(r"^moto==(\S+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    assert moto is not None
    arguments = {"BASE": BASE or pinned_base(), "MOTO": moto[1]}
    build = {"context": str(HERE / "engines"), "args": arguments, **({"network": NETWORK} if NETWORK else {})}
    engines = {"image": "pneumonia-test/engines", "build": build}
    single = {"environment": {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1"}}
    answers = ["CMD", "python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:7070/moto-api/')"]
    soon = {"TASK_INSTANCE_HEARTBEAT_TIMEOUT": "60", "TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "10"}
    changes = {
        "postgres": engines,
        "redis": engines,
        "store": {
            **engines,
            "entrypoint": ["moto_server"],
            "command": ["-H", "0.0.0.0", "-p", "7070"],
            "healthcheck": {"test": answers},
        },
        "head": single,
        "worker": single,
        "airflow-scheduler": {
            "environment": {f"AIRFLOW__SCHEDULER__{name}": value for name, value in soon.items()},
            "depends_on": {"ear": {"condition": "service_started"}},
        },
        "ear": {  # hears what Airflow sends to StatsD
            "image": "pneumonia-test/engines",
            "profiles": ["full"],
            "networks": ["airflow"],
            "command": ["python", "-c", LISTEN],
        },
    }
    with stack("full", root, environ, kind=Full, **changes) as made:
        assert isinstance(made, Full)
        made.root = root
        made.secrets = dict(re.findall(r"^(\w+)=(\S{32,})$", environ, re.MULTILINE))
        began = time.monotonic()
        made.up(seconds=900)
        print(f"\nfull: healthy after {time.monotonic() - began:.0f} s")
        yield made


@pytest.fixture(scope="module")
def retrained(full: Full) -> str:
    """One retraining, its second worker killed after an epoch of its training; ended well."""
    wait(lambda: "pneumonia_retrain" in str(full.airflow("GET", "/api/v2/dags")["dags"]), "the DAG", 300, 5)
    full.airflow("PATCH", DAG, json={"is_paused": False})
    began = time.monotonic()
    full.trigger("whole", {"epochs": 4, "settings": SETTINGS})
    wait(lambda: _has_trained_an_epoch(full), "an epoch on the second worker", PATIENCE, 2)
    victim = full.container("worker")["Id"]
    docker("kill", victim)
    print(f"full: the worker was killed after {time.monotonic() - began:.0f} s")
    docker("start", victim)
    state = wait(lambda: full.state("whole"), "the retraining", PATIENCE, 10)
    print(f"full: {state} after {time.monotonic() - began:.0f} s")
    told = [(task["task_id"], task["map_index"], task["state"], task["try_number"]) for task in full.tasks("whole")]
    assert state == "success", f"{told}\n{full.logs()}"
    return "whole"


def _has_trained_an_epoch(full: Full) -> bool:
    ended = full.state("whole")
    assert not ended, f"the retraining ended as {ended} before a worker could be killed"
    done = full.inside("worker", "sh", "-c", "ls /project/.work/*/.cache/training/*/checkpoint.npz 2>/dev/null || true")
    return bool(done.strip())


def test_two_workers_share_the_trainings_and_the_killed_one_is_tried_again(full: Full, retrained: str) -> None:
    trainings = [task for task in full.tasks(retrained) if task["task_id"] == "train"]
    assert len(trainings) == len(RUNS)
    assert {task["state"] for task in trainings} == {"success"}
    assert sorted(task["try_number"] for task in trainings) == [1, 1, 2]
    assert len({task["hostname"] for task in trainings}) == 2


def test_the_log_of_every_try_can_be_read_in_the_page(full: Full, retrained: str) -> None:
    ran = [task for task in full.tasks(retrained) if task["start_date"] and task["state"] != "skipped"]
    assert len(ran) > len(RUNS) + 8
    for task in ran:
        for attempt in range(1, task["try_number"] + 1):
            place = f"{DAG}/dagRuns/{retrained}/taskInstances/{task['task_id']}/logs/{attempt}"
            text = json.dumps(full.airflow("GET", f"{place}?map_index={task['map_index']}&full_content=true"))
            assert "Running command" in text, f"{task['task_id']} {task['map_index']}, try {attempt}: {text[-2000:]}"
            assert "Could not read served logs" not in text, text[-2000:]


def test_the_branch_is_delivered(full: Full, retrained: str, tmp_path: Path) -> None:
    """As docs/containers.md says."""
    bundle = tmp_path / "retrain.bundle"
    inside = ["exec", full.container("head")["Id"]]
    written = subprocess.run(
        ["docker", *inside, "git", "-C", "/project", "bundle", "create", "-", "--branches=retrain/*"],
        capture_output=True, check=True,
    )  # fmt: skip
    bundle.write_bytes(written.stdout)
    fetch = ["git", "fetch", "--quiet", bundle, "refs/heads/retrain/*:refs/heads/retrain/*"]
    subprocess.run(fetch, cwd=full.root, check=True)

    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=full.root, capture_output=True, text=True, check=True).stdout

    (branch,) = git("branch", "--list", "retrain/*", "--format=%(refname:short)").split()
    changed = git("diff", "--name-only", f"HEAD..{branch}").splitlines()
    assert {"dvc.lock", "params.yaml", *(f"predictions/{name}/run.json" for name in RUNS)} <= set(changed)
    assert git("log", "-1", "--format=%s", branch).startswith(f"Retrain ({retrained})")


def test_mlflow_has_the_runs_and_shows_them_to_nobody_without_the_password(full: Full, retrained: str) -> None:
    address = full.address("mlflow-shared", 5000)
    wanted = f"{address}/api/2.0/mlflow/experiments/search?max_results=10"
    assert httpx.get(wanted, timeout=60).status_code == 401
    assert httpx.get(wanted, auth=("admin", "password1234"), timeout=60).status_code == 401
    answer = httpx.get(wanted, auth=("admin", full.secrets["MLFLOW_PASSWORD"]), timeout=60)
    assert answer.status_code == 200
    assert len(answer.json()["experiments"]) > 1


def test_no_file_of_a_worker_holds_a_secret(full: Full, retrained: str) -> None:
    patterns = "\n".join(full.secrets.values())
    for name in ("head", "worker"):
        done = subprocess.run(
            ["docker", "exec", "--interactive", "--user", "0", full.container(name)["Id"], "sh", "-c",
             "grep -rlF -f - /etc /home /project /root /run /source /srv /tmp /usr/local /var; test $? -le 2"],
            input=patterns, capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == "", name
        known = full.inside(name, "env")
        for secret in ("AIRFLOW_DATABASE_PASSWORD", "AIRFLOW_JWT_SECRET", "AIRFLOW_FERNET_KEY", "POSTGRES_PASSWORD"):
            assert full.secrets[secret] not in known, f"{name}: {secret}"


def test_a_part_reaches_only_those_that_it_works_with(full: Full) -> None:
    dial = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)"
    for name, reached in REACHED.items():
        inside = full.container(name)["Id"]
        answered = {
            part for part, port in PARTS.items()
            if subprocess.run(["docker", "exec", inside, "python", "-c", dial, part, port], capture_output=True).returncode == 0
        }  # fmt: skip
        assert answered == reached, name


def test_health_checks_ask_the_part_itself(full: Full) -> None:
    """Each check fails in the container of another part, where the database and the broker answer as well."""
    checks = {
        name: full.container(name)["Config"]["Healthcheck"]["Test"][1:]
        for name in ("airflow-scheduler", "airflow-dag-processor", "airflow-api", "worker")
    }
    for name, command in checks.items():
        assert _status(full, name, command) == 0, name
    assert _status(full, "airflow-dag-processor", checks["airflow-scheduler"]) != 0
    assert _status(full, "airflow-scheduler", checks["airflow-dag-processor"]) != 0
    assert _status(full, "airflow-scheduler", checks["airflow-api"]) != 0
    assert _status(full, "airflow-scheduler", [part.replace("/opt/airflow/bin/", "") for part in checks["worker"]]) != 0


def _status(full: Full, name: str, command: list[str]) -> int:
    inside = ["docker", "exec", full.container(name)["Id"], *command]
    return subprocess.run(inside, capture_output=True, check=False).returncode


def test_a_failed_retraining_is_told_to_statsd(full: Full, retrained: str) -> None:
    """Under the name that docker/prometheus/rules.yaml asks for, as prom/statsd-exporter spells it."""
    full.trigger("impossible", {"networks": ["resnet5"]})
    assert wait(lambda: full.state("impossible"), "the end of an impossible run", 600, 5) == "failed"
    heard = "airflow.dagrun.duration.failed.pneumonia_retrain"
    wait(lambda: heard in docker("logs", full.container("ear")["Id"]), "word of it", 60, 2)
    rules = (ROOT / "docker" / "prometheus" / "rules.yaml").read_text()
    assert heard.replace(".", "_") + "_count" in rules
