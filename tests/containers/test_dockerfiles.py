"""What can be known of docker/ without a Docker engine: schema, lint, paths, ports, variables, installs."""

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline import settings
from pipeline.retraining.request import Request, lay_over
from pipeline.serving.request_limits import ROUTES
from pipeline.serving.settings import load_serve
from tests.containers.test_full import PARTS, REACHED, RUNS, SETTINGS

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / "docker"
DOCKERFILES = sorted(DOCKER.glob("*.Dockerfile"))
COMPOSE: dict[str, Any] = yaml.safe_load((DOCKER / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
BIN = Path(sys.executable).parent


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """(INSTRUCTION, rest) of each instruction, continued lines joined, comments left out."""
    lines = [line for line in dockerfile.read_text().splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(word.upper(), rest) for word, _, rest in (line.partition(" ") for line in joined.splitlines() if line)]


def stages(dockerfile: Path) -> list[list[tuple[str, str]]]:
    stages_found: list[list[tuple[str, str]]] = []
    for instruction in instructions(dockerfile):
        if instruction[0] == "FROM":
            stages_found.append([])
        if stages_found:
            stages_found[-1].append(instruction)
    return stages_found


def test_compose_file_fits_its_schema() -> None:
    from compose_pydantic.models import ComposeSpecification

    plain = {key: value for key, value in COMPOSE.items() if not key.startswith("x-")}
    ComposeSpecification.model_validate(plain)
    over = yaml.safe_load((DOCKER / "compose.gpu.yaml").read_text())
    assert set(over["services"]) <= set(SERVICES)
    (device,) = over["services"]["worker"].pop("gpus")  # younger than this copy of the schema; Compose itself reads it
    assert device["device_ids"] == ["0"]  # in tests/containers/test_serve.py
    ComposeSpecification.model_validate(over)
    for profile in ("serve", "track", "full"):
        assert any(profile in service["profiles"] for service in SERVICES.values())


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_hadolint_finds_nothing(dockerfile: Path) -> None:
    done = subprocess.run([BIN / "hadolint", dockerfile], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_images_are_pinned_and_do_not_run_as_root(dockerfile: Path) -> None:
    names = {"${BASE}"}
    first, default = instructions(dockerfile)[0]
    assert first == "ARG"  # before FROM, so that another base can be named where no registry is at hand
    assert re.fullmatch(r"BASE=\S+:[\w.-]+@sha256:[0-9a-f]{64}", default), default
    bento = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bentoml"]["build"]
    assert default == f"BASE={bento['docker']['base_image']}"
    for stage in stages(dockerfile):
        base, _, name = stage[0][1].partition(" AS ")
        assert base in names, base
        names.add(name)
        ends = [word for word, _ in stage]
        if "CMD" in ends:
            assert ("USER", "1000") in stage or base == "pipeline"  # `worker` stands on `pipeline` and keeps its user
            assert "HEALTHCHECK" in ends
            assert any(word == "LABEL" and "image.title=" in rest for word, rest in stage) or base == "pipeline"
    for service in SERVICES.values():
        if not service["image"].startswith("pneumonia-radiographs/"):
            assert re.search(r":[\w.-]+@sha256:[0-9a-f]{64}$", service["image"]), service["image"]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.name)
def test_every_copied_path_exists_and_is_in_the_context(dockerfile: Path) -> None:
    ignored = (ROOT / ".dockerignore").read_text().split()
    assert ignored[0] == "*"  # nothing goes into the context unless it is named
    allowed = [line[1:] for line in ignored if line.startswith("!")]
    for word, rest in instructions(dockerfile):
        if word != "COPY" or "--from=" in rest:
            continue
        *sources, _target = [part for part in shlex.split(rest) if not part.startswith("--")]
        for source in sources:
            for name in ("pipeline", "cuda") if "${REQUIREMENTS}" in source else ("",):
                path = source.replace("${REQUIREMENTS}", name)
                assert (ROOT / path).exists() or path.startswith("models/"), path
                assert any(path == entry or path.startswith(f"{entry}/") for entry in allowed), path


def test_the_image_of_the_service_holds_what_bentoml_packs() -> None:
    """Of the code, the same files as pyproject.toml names; beside them the record of promotions and pyproject.toml."""
    included = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bentoml"]["build"]["include"]
    copied = set()
    for word, rest in instructions(DOCKER / "service.Dockerfile"):
        if word == "COPY" and "--from=" not in rest:
            copied |= {source for source in rest.split()[:-1] if not source.startswith("requirements/")}
    assert copied - {"pyproject.toml", "models/promotions.jsonl"} == {name.strip("/") for name in included}


def test_airflow_and_mlflow_have_passwords_of_their_own(tmp_path: Path) -> None:
    """docker/postgres-databases.sh as it stands, with a `psql` that writes down how it was called."""
    psql = tmp_path / "psql"
    psql.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/called\ncat >> {tmp_path}/told\n')
    psql.chmod(0o755)
    environ = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "POSTGRES_USER": "postgres",
        "AIRFLOW_DATABASE_PASSWORD": "one",
        "MLFLOW_DATABASE_PASSWORD": "two",
    }
    subprocess.run([DOCKER / "postgres-databases.sh"], env=environ, check=True)
    called = (tmp_path / "called").read_text().splitlines()
    assert [line.split("--set=")[2:] for line in called] == [
        ["name=airflow ", "password=one"],
        ["name=mlflow ", "password=two"],
    ]
    assert (tmp_path / "told").read_text().count("CREATE USER") == 2
    assert set(environ) - {"PATH", "POSTGRES_USER"} <= set(SERVICES["postgres"]["environment"])


def test_no_secret_is_baked_in() -> None:
    secret = re.compile(r"(password|secret|token|key|fernet)", re.IGNORECASE)
    for dockerfile in DOCKERFILES:
        for word, rest in instructions(dockerfile):
            assert word not in ("ENV", "ARG") or not secret.search(rest), rest
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            if secret.search(variable) and not variable.endswith("_FILE"):
                assert re.fullmatch(r"\$\{\w+-\}", str(value)), f"{name}: {variable}"
        assert not re.search(r"://\w+:[^$@]+@", str(service)), name


def test_variables_agree_between_files() -> None:
    text = (DOCKER / "compose.yaml").read_text()
    used = set(re.findall(r"(?<!\$)\$\{(\w+)", text))  # two dollars: the container's shell
    offered = set(re.findall(r"^(\w+)=", (DOCKER / "example.env").read_text(), re.MULTILINE))
    assert used == offered
    assert {"docker/.env", "docker/pictures/"} <= set((ROOT / ".gitignore").read_text().split())
    for mounted in re.findall(r"- (\./[\w.-]+|\.\./[\w.-]+|\.\.):", text):
        assert (DOCKER / mounted).exists(), mounted
    assert os.access(DOCKER / "worker.sh", os.X_OK)
    assert os.access(DOCKER / "postgres-databases.sh", os.X_OK)


def test_a_secret_that_is_empty_is_asked_for() -> None:
    """The commands as the containers' shell gets them; the store's image and PostgreSQL's refuse theirs by themselves."""
    secrets = {
        "redis": {"REDISCLI_AUTH": "REDIS_PASSWORD"},
        "postgres": {
            "AIRFLOW_DATABASE_PASSWORD": "AIRFLOW_DATABASE_PASSWORD",
            "MLFLOW_DATABASE_PASSWORD": "MLFLOW_DATABASE_PASSWORD",
        },
        "airflow-migrate": {
            "AIRFLOW__CORE__FERNET_KEY": "AIRFLOW_FERNET_KEY",
            "AIRFLOW__API_AUTH__JWT_SECRET": "AIRFLOW_JWT_SECRET",
            "AIRFLOW__API__SECRET_KEY": "AIRFLOW_API_SECRET_KEY",
        },
        "mlflow-shared": {
            "MLFLOW_AUTH_ADMIN_PASSWORD": "MLFLOW_PASSWORD",
            "MLFLOW_FLASK_SERVER_SECRET_KEY": "MLFLOW_SECRET_KEY",
        },
    }
    for service, variables in secrets.items():
        command = [part.replace("$$", "$") for part in SERVICES[service]["command"]]
        for empty, named in variables.items():
            environ = {**os.environ, **dict.fromkeys(variables, "given"), empty: ""}
            done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
            assert done.returncode != 0, service
            assert f"set {named} in docker/.env" in done.stderr, done.stderr
            assert named in (DOCKER / "example.env").read_text()


def test_a_part_has_the_secrets_and_the_networks_that_it_needs() -> None:
    """A worker runs what the study's code says; it gets no key to Airflow's database, and no way to it."""
    known = {name: str(service.get("environment", "")) for name, service in SERVICES.items()}
    airflow = {"airflow-api", "airflow-scheduler", "airflow-dag-processor", "airflow-migrate"}
    for secret, parts in {
        "AIRFLOW_DATABASE_PASSWORD": {"postgres", *airflow},
        "AIRFLOW_JWT_SECRET": airflow,
        "AIRFLOW_FERNET_KEY": airflow,
        "MLFLOW_DATABASE_PASSWORD": {"postgres", "mlflow-shared"},
        "MLFLOW_PASSWORD": {"mlflow-shared", "head"},
        "STORE_SECRET_KEY": {"store", "store-bucket", "mlflow-shared", "head", "worker"},
        "POSTGRES_PASSWORD": {"postgres"},
    }.items():
        assert {name for name, given in known.items() if f"${{{secret}-}}" in given} == parts, secret
    networks = {name: set(service["networks"]) for name, service in SERVICES.items()}
    assert networks["service"] == {"web"}
    assert {name for name in SERVICES if "web" in networks[name]} == {"service"}
    assert not networks["postgres"] & (networks["head"] | networks["worker"])
    for name, reached in REACHED.items():  # tests/containers/test_full.py asks the containers
        assert {part for part in PARTS if networks[part] & networks[name]} == reached, name
    assert {name for name in SERVICES if "tracking" in networks[name]} == {"mlflow", "mlflow-shared", "head"}
    for part in ("postgres", "store"):
        assert all(COMPOSE["networks"][network]["internal"] for network in networks[part])


def test_the_workers_see_no_file_that_git_does_not_keep() -> None:
    for name in ("head", "worker"):
        mounted = [volume for volume in SERVICES[name]["volumes"] if ".." in volume]
        assert mounted == ["../.git:/source:ro"]


def test_every_secret_gets_a_value_of_its_own() -> None:
    done = subprocess.run([DOCKER / "secrets.sh"], capture_output=True, text=True, check=True)
    asked = re.findall(r"^(\w+)=(.*)$", (DOCKER / "example.env").read_text(), re.MULTILINE)
    given = re.findall(r"^(\w+)=(.*)$", done.stdout, re.MULTILINE)
    assert [name for name, _ in given] == [name for name, _ in asked]
    secrets = [value for name, value in given if name.endswith(("_PASSWORD", "_SECRET", "_KEY"))]
    assert len(set(secrets)) == len(secrets) == 11
    assert all(len(value) >= 32 for value in secrets)
    assert [name for name, value in given if not value] == ["CXR_DATA", "SERVE_TOKEN", "SERVE_HOSTS", "STATSD_HOST"]


def test_every_part_of_airflow_reads_the_dag_alike() -> None:
    """The DAG file is read by the DAG processor; a default that only workers know would never be seen."""
    told = {
        name: service["environment"]["RETRAIN_DELIVER"]
        for name, service in SERVICES.items()
        if service["image"].endswith(("/airflow", "/worker")) and name != "store-bucket"
    }
    assert {"airflow-dag-processor", "airflow-api", "airflow-scheduler", "head", "worker"} <= set(told)
    assert set(told.values()) == {"branch"}


def test_a_worker_takes_its_checkout_from_another_user_s_repository(tmp_path: Path) -> None:
    """docker/worker.sh as it stands, in other folders and without Airflow at its end."""
    if os.geteuid() != 0:
        pytest.skip("NOT TESTED: docker/worker.sh on a repository of another user; becoming one needs root")
    source, home = tmp_path / "source", tmp_path / "home"
    for folder in (tmp_path, *tmp_path.parents):
        if Path(tempfile.gettempdir()).resolve() in folder.parents:
            folder.chmod(0o755)
    home.mkdir()
    os.chown(home, 1000, 1000)
    script = (DOCKER / "worker.sh").read_text().replace("/project", str(home / "project"))
    script = script.replace("/source", str(source / ".git"))  # what compose.yaml mounts there
    script = script.replace("exec /opt/airflow/bin/airflow", "exec echo")
    subprocess.run(["git", "init", "-q", source], check=True)
    commit = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "--allow-empty", "-m"]
    for message in ("first", "second"):  # at each start the checkout follows, to another branch or to none
        subprocess.run([*commit, message], cwd=source, check=True)
        subprocess.run(["git", "checkout", "-q", "--detach"], cwd=source, check=True)
        done = subprocess.run(
            ["sh", "-c", script, "worker", "training"], cwd=home, env={**os.environ, "HOME": str(home)},
            user=1000, group=1000, extra_groups=[], capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout == "celery worker --queues training --concurrency 1\n"
        log = subprocess.run(
            ["git", "-c", "safe.directory=*", "log", "-1", "--format=%s"], cwd=home / "project", capture_output=True, text=True,
            check=True,
        )  # fmt: skip
        assert log.stdout.strip() == message
    assert (home / ".gitconfig").read_text().count("directory = ") == 1


def test_ports_agree_and_are_published_on_loopback_alone() -> None:
    exposed = {"service": 3000, "mlflow": 5000}
    for name, port in exposed.items():
        dockerfile = instructions(DOCKER / f"{name}.Dockerfile")
        assert ("EXPOSE", str(port)) in dockerfile
        command = next(rest for word, rest in dockerfile if word == "CMD")
        assert f'"--port", "{port}"' in command
        assert f":{port}/" in next(rest for word, rest in dockerfile if word == "HEALTHCHECK")
    for service in SERVICES.values():
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:")
    inside = {"airflow-api": 8080, "mlflow-shared": 5000, "store": 7070, "postgres": 5432, "redis": 6379}
    for host, port in re.findall(r"[/@]([a-z-]+):(\d+)", (DOCKER / "compose.yaml").read_text()):
        assert inside.get(host) == int(port), f"{host}:{port}"


def test_the_deployment_of_the_documents_says_what_compose_says() -> None:
    text = (ROOT / "docs" / "scaling.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)
    pod = yaml.safe_load(written)["spec"]["template"]["spec"]
    (container,), service = pod["containers"], SERVICES["service"]
    assert container["resources"]["limits"]["memory"].removesuffix("Mi") == service["mem_limit"].removesuffix("m")
    assert container["ports"][0]["containerPort"] == int(service["ports"][0].rpartition(":")[2])
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is service["read_only"] is True
    assert security["capabilities"]["drop"] == service["cap_drop"]
    assert ("USER", str(security["runAsUser"])) in instructions(DOCKER / "service.Dockerfile")
    (scratch,) = service["tmpfs"]
    (mounted,) = container["volumeMounts"]
    assert scratch == f"{mounted['mountPath']}:size={pod['volumes'][0]['emptyDir']['sizeLimit'].removesuffix('Mi')}m"
    for environ in ({one["name"]: one["value"] for one in container["env"]}, _defaults(service["environment"])):
        hosts = load_serve(environ).hosts
        assert hosts and set(hosts) != set(load_serve({}).hosts or [])
    assert load_serve({"SERVE_HOSTS": ""}).hosts is None  # what the text says of an empty value
    probed = {container[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")}
    assert probed <= ROUTES


def _defaults(environment: dict[str, str]) -> dict[str, str]:
    """What Compose hands over where no variable is set."""
    return {name: re.sub(r"\$\{\w+:?-([^}]*)\}", r"\1", value) for name, value in environment.items()}


def test_the_retrainings_of_the_page_and_of_the_test_may_be_asked_for(tmp_path: Path) -> None:
    """Refused ones would be noticed only where an engine runs."""
    written = yaml.safe_load((ROOT / "params.yaml").read_text())
    three = {**written, "train": {**written["train"], "runs": RUNS}}
    (example,) = re.findall(r"```json\n(.*?)```", (ROOT / "docs" / "containers.md").read_text(), re.DOTALL)
    for params, asked in (
        (written, json.loads(example)),
        (three, {"epochs": 4, "settings": SETTINGS, "deliver": "branch"}),
    ):
        laid = lay_over(params, Request(run_id="r", **asked))
        (tmp_path / "params.yaml").write_text(yaml.safe_dump(laid))
        assert settings.load(tmp_path / "params.yaml").ingest.dataset == "phantom"


def test_services_wait_for_what_exists() -> None:
    for name, service in SERVICES.items():
        for needed, how in service.get("depends_on", {}).items():
            assert needed in SERVICES
            assert set(service["profiles"]) <= set(SERVICES[needed]["profiles"])
            if how["condition"] == "service_healthy":
                from_registry = not SERVICES[needed]["image"].startswith("pneumonia-radiographs/")
                assert not from_registry or "healthcheck" in SERVICES[needed], f"{name} waits for {needed}"
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source.startswith((".", "/", "$")) or source in COMPOSE["volumes"], f"{name}: {volume}"


def test_cuda_is_the_pipeline_but_for_tensorflow() -> None:
    def names(file: str) -> set[str]:
        lines = (ROOT / "requirements" / file).read_text().splitlines()
        return {re.split(r"[\[>=; ]", line)[0] for line in lines if line and not line.startswith(("#", "-"))}

    assert names("cuda.in") - {"tensorflow"} == names("pipeline.in") - {"tensorflow", "tensorflow-cpu"}


def test_everything_is_installed_by_hash_uv_itself_included() -> None:
    install = "--require-hashes -r requirements/uv.txt"
    assert len(re.findall(rf"pip install .*{install}", (ROOT / "Makefile").read_text())) == 2
    assert re.match(r"uv==\S+ \\\n +--hash=sha256:", (ROOT / "requirements" / "uv.txt").read_text())
    for dockerfile in DOCKERFILES:
        for stage in stages(dockerfile):
            installs = [
                part for word, rest in stage if word == "RUN" for part in rest.split("&&") if "pip install" in part
            ]
            assert all("--require-hashes" in part for part in installs), dockerfile.name
            if installs:
                assert ("COPY", "requirements/uv.txt .") in stage, dockerfile.name


@pytest.mark.slow
@pytest.mark.parametrize("requirements", ["pipeline", "airflow", "mlflow", "serve"])
def test_installs_of_the_images_work_in_a_clean_environment(requirements: str, tmp_path: Path) -> None:
    """The RUN lines that install, as they stand; `cuda` alone is resolved and not downloaded (4 GB)."""
    run = next(
        rest
        for dockerfile in DOCKERFILES
        for stage in stages(dockerfile)
        if any(word == "COPY" and f"requirements/{requirements}.txt" in rest for word, rest in _default(stage))
        for word, rest in stage
        if word == "RUN" and "uv venv" in rest
    )
    shutil.copy(ROOT / "requirements" / f"{requirements}.txt", tmp_path / "requirements.txt")
    place = re.search(r"uv venv (\S+)", run)
    assert place is not None
    command = run.replace(place[1], str(tmp_path / "environment")).replace("--no-cache ", "")
    environ = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["sh", "-ec", command], cwd=tmp_path, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_what_the_image_of_the_service_copies_is_enough_to_serve(tmp_path: Path) -> None:
    """The COPY lines carried out, then the health check asked, in an environment that has no other file of the project."""
    home = tmp_path / "service"
    for word, rest in instructions(DOCKER / "service.Dockerfile"):
        if word == "COPY" and "--from=" not in rest and "requirements" not in rest:
            *sources, target = rest.split()
            for source in sources:
                place = home / target / Path(source).name if target.endswith("/") else home / target
                place.parent.mkdir(parents=True, exist_ok=True)
                (shutil.copytree if (ROOT / source).is_dir() else shutil.copy)(ROOT / source, place)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = {**os.environ, "HOME": str(tmp_path), "BENTOML_HOME": str(tmp_path / "bentoml")}
    environ["PATH"] = f"{BIN}{os.pathsep}{environ['PATH']}"
    command = [BIN / "bentoml", "serve", "--host", "127.0.0.1", "--port", str(port)]
    with (tmp_path / "log").open("w") as log:
        service = subprocess.Popen(command, cwd=home, env=environ, stdout=log, stderr=log, start_new_session=True)
    try:
        until = time.monotonic() + 120
        while True:
            assert service.poll() is None, (tmp_path / "log").read_text()
            assert time.monotonic() < until, (tmp_path / "log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=4) as answer:
                    assert answer.status == 200
                    break
            except OSError:
                time.sleep(0.2)
    finally:
        os.killpg(service.pid, signal.SIGTERM)
        service.wait(timeout=30)


def _default(stage: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The stage with its build argument at its default."""
    values = dict(rest.split("=", 1) for word, rest in stage if word == "ARG" and "=" in rest)
    return [(word, re.sub(r"\$\{(\w+)\}", lambda m: values.get(m[1], m[0]), rest)) for word, rest in stage]
