"""The engines of a retraining over several machines, all on this one: Redis, PostgreSQL, an S3 API, Airflow, two workers.

Everything listens on loopback alone, lies in one folder, and ends with `stop`.
"""

import contextlib
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2

ROOT = Path(__file__).resolve().parents[1]
PIPELINE = ROOT / ".venv" / "bin"
AIRFLOW = ROOT / ".venv-airflow" / "bin"
DAG = "pneumonia_retrain"
RUN = "cluster"


class Cluster:
    """Everything that runs; `stop` ends it all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: list[subprocess.Popen[bytes]] = []
        self.parts: dict[str, tuple[list[Any], dict[str, str], subprocess.Popen[bytes]]] = {}  # Airflow's own
        self.ports = {name: _free_port() for name in ("postgres", "redis", "s3", "api")}
        self.environ = self._environment()
        folder.mkdir(parents=True)

    def _environment(self) -> dict[str, str]:
        database = f"airflow@127.0.0.1:{self.ports['postgres']}/airflow"
        api = f"http://127.0.0.1:{self.ports['api']}"
        settings = {
            "CORE__EXECUTOR": "CeleryExecutor",
            "CORE__LOAD_EXAMPLES": "false",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "false",
            "CORE__EXECUTION_API_SERVER_URL": f"{api}/execution/",
            "CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(self.ports["api"]),
            "API__BASE_URL": api,
            "API__WORKERS": "1",
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "CELERY__BROKER_URL": f"redis://127.0.0.1:{self.ports['redis']}/0",
            "CELERY__RESULT_BACKEND": f"db+postgresql+psycopg2://{database}",
            "CELERY__WORKER_CONCURRENCY": "1",  # one checkout, one task at a time
            "OPERATORS__DEFAULT_QUEUE": "default",
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",  # a dead worker is noticed after 30 s, not 300
            "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "USAGE_DATA_COLLECTION__ENABLED": "false",
        }
        return {
            **os.environ,
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            "AIRFLOW_HOME": str(self.folder / "airflow"),
            "PATH": f"{AIRFLOW}{os.pathsep}{os.environ['PATH']}",
            "RETRAIN_REMOTE": "s3://dvc/retraining",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.ports['s3']}",
            "AWS_ACCESS_KEY_ID": "loopback",
            "AWS_SECRET_ACCESS_KEY": secrets.token_hex(16),
            "AWS_DEFAULT_REGION": "us-east-1",
            **single_thread(),
        }

    def start(self) -> None:
        """Start engines, store, Airflow and both workers, in that order."""
        self._postgres()
        self.run("redis", ["redis-server", "--bind", "127.0.0.1", "--port", str(self.ports["redis"]), "--save", ""])
        self.run("s3", [PIPELINE / "moto_server", "-H", "127.0.0.1", "-p", str(self.ports["s3"])])
        for name in ("redis", "s3"):
            wait(lambda name=name: _answers(self.ports[name]), f"{name} to answer", 300)
        bucket = "import boto3; boto3.client('s3').create_bucket(Bucket='dvc')"
        subprocess.run([PIPELINE / "python", "-c", bucket], env=self.environ, check=True)
        for name in ("worker-1", "worker-2"):
            self.clone(name)
        self.environ["AIRFLOW__CORE__DAGS_FOLDER"] = str(self.folder / "worker-1" / "dags")
        self.airflow("db", "migrate")
        self.airflow("pools", "set", "training", "2", "one for each worker")
        self.part("api", ["airflow", "api-server"])
        wait(lambda: _answers(self.ports["api"]), "Airflow's API", 900)
        self.part("dag-processor", ["airflow", "dag-processor"])
        self.part("scheduler", ["airflow", "scheduler"])
        self.worker("worker-1", "default,training")
        self.worker("worker-2", "training")

    def clone(self, name: str) -> Path:
        """A checkout of its own, as a worker on another machine has one."""
        subprocess.run(["git", "clone", "--quiet", ROOT, self.folder / name], check=True)
        (self.folder / name / ".venv").symlink_to(ROOT / ".venv")
        return self.folder / name

    def worker(self, name: str, queues: str) -> None:
        """Start a worker of these queues in its checkout."""
        variables = {"AIRFLOW__CORE__DAGS_FOLDER": str(self.folder / name / "dags")}
        command = ["airflow", "celery", "worker", "--queues", queues, "--skip-serve-logs", "--celery-hostname", name]
        self.part(name, command, **variables)

    def part(self, name: str, command: list[Any], **environ: str) -> None:
        """Start a part of Airflow that `revive` starts again if it ends."""
        self.parts[name] = command, environ, self.run(name, command, **environ)

    def revive(self) -> None:
        """Start again what ended by itself, as systemd or Docker would (`restart: unless-stopped`)."""
        for name, (command, environ, process) in list(self.parts.items()):
            if process.poll() is not None:
                say(f"{name} ended with status {process.returncode}: started again")
                self.part(name, command, **environ)

    def run(self, name: str, command: list[Any], user: str | None = None, **environ: str) -> subprocess.Popen[bytes]:
        """Start a process of the cluster, its output in FOLDER/NAME.log."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, env={**self.environ, **environ}, stdout=log, stderr=subprocess.STDOUT,
                start_new_session=True, user=user,
            )  # fmt: skip
        self.started.append(process)
        return process

    def airflow(self, *arguments: str) -> None:
        """One command of Airflow; its output is shown if it fails."""
        done = subprocess.run(["airflow", *arguments], env=self.environ, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"cluster: airflow {' '.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    def _postgres(self) -> None:
        """A server of its own; PostgreSQL refuses to run as root."""
        versions = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        if not versions or not shutil.which("redis-server"):
            sys.exit("cluster: redis-server and postgresql are missing: apt-get install redis-server postgresql")
        user = "postgres" if os.geteuid() == 0 else None
        data = self.folder / "postgres"
        data.mkdir()
        if user:
            shutil.chown(data, user)
        init = [versions[-1] / "initdb", "--pgdata", data, "--username", "airflow", "--auth", "trust", "--no-sync"]
        subprocess.run(init, cwd="/", check=True, stdout=subprocess.DEVNULL, user=user)
        options = ["-p", str(self.ports["postgres"]), "-h", "127.0.0.1", "-k", data, "-F"]
        self.postgres_command = [versions[-1] / "postgres", "-D", data, *options]
        self.postgres_user = user
        self.start_postgres()
        connection = self.database("postgres")
        connection.autocommit = True  # a database cannot be made inside a transaction
        connection.cursor().execute("CREATE DATABASE airflow")
        connection.close()

    def start_postgres(self) -> subprocess.Popen[bytes]:
        """Start the database server, also after it was taken away."""
        self.postgres = self.run("postgres", self.postgres_command, user=self.postgres_user)
        wait(lambda: _answers(self.ports["postgres"]), "PostgreSQL", 300)
        wait(self._accepts, "PostgreSQL to accept", 300)
        return self.postgres

    def _accepts(self) -> bool:
        try:
            self.database("postgres").close()
        except psycopg2.OperationalError:
            return False
        return True

    def database(self, name: str = "airflow") -> Any:
        """A connection to the cluster's database."""
        return psycopg2.connect(host="127.0.0.1", port=self.ports["postgres"], user="airflow", dbname=name)

    def ask(self, query: str) -> list[tuple[Any, ...]]:
        """Rows of a query on Airflow's database; none while it is away."""
        try:
            connection = self.database()
        except psycopg2.OperationalError:
            return []
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                return cursor.fetchall()
        finally:
            connection.close()

    def state(self) -> str | None:
        """The state of the run."""
        rows = self.ask(f"SELECT state FROM dag_run WHERE run_id = '{RUN}'")
        return rows[0][0] if rows else None

    def trainings(self) -> list[tuple[str, str, int, Any, Any]]:
        """Name, state, try, start and end of each training."""
        return self.ask(
            "SELECT coalesce(rendered_map_index, map_index::text), state, try_number, start_date, end_date "
            f"FROM task_instance WHERE run_id = '{RUN}' AND task_id = 'train' AND map_index >= 0 ORDER BY 1"
        )

    def stop(self) -> None:
        """End all that was started, workers first; nothing stays behind."""
        for process in reversed(self.started):
            if process.poll() is None:
                end(process)


def single_thread() -> dict[str, str]:
    """Trainings limited to one thread each."""
    return dict.fromkeys(("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS"), "1")


def say(text: str) -> None:
    """A line with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def wait(ready: Callable[[], Any], what: str, seconds: float) -> Any:
    """What `ready` says as soon as it is true; ends the command when it takes too long."""
    until = time.monotonic() + seconds
    while not (answer := ready()):
        if time.monotonic() > until:
            sys.exit(f"cluster: waited {seconds:g} s for {what}")
        time.sleep(0.5)
    return answer


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def tree(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(fields[1]), []).append(int(stat.parent.name))
    processes = [pid]
    for process in processes:
        processes += parents.get(process, [])
    return processes


def end(process: subprocess.Popen[bytes]) -> None:
    """End a process and all that it started: asked first, killed after 30 seconds."""
    family = {pid: _began(pid) for pid in tree(process.pid)}
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=30)
    for pid, began in family.items():
        if began and _began(pid) == began:  # not another process that was given its number
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    process.wait()


def _began(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None when it has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        return None
