#!/bin/bash
# Airflow on this machine, everything under .airflow/, reachable from this machine alone.
#
#   scripts/airflow.sh up              scheduler and page, the retraining DAG unpaused     (make airflow)
#   scripts/airflow.sh retrain [JSON]  one run from the command line, on phantoms unless told otherwise  (make retrain)
#   scripts/airflow.sh again           clear the failed tasks of the last failed retraining, after a repair
#   scripts/airflow.sh env COMMAND...  any command of Airflow with these settings
set -euo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
bin="$root/.venv-airflow/bin"
if [ ! -x "$bin/airflow" ] || [ ! -x "$root/.venv/bin/dvc" ]; then
    echo "airflow: the environments are missing; run: make setup .venv-airflow/.ready" >&2
    exit 1
fi

port=${AIRFLOW_PORT:-8080}
export PATH="$bin:$PATH"
export AIRFLOW_HOME="${AIRFLOW_HOME:-$root/.airflow}"
export AIRFLOW__CORE__DAGS_FOLDER="$root/dags"
export AIRFLOW__CORE__LOAD_EXAMPLES=false
export AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION=false # `retrain` may be what makes the DAG known; `up` shall find it on
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS=admin:admin
export AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE="$AIRFLOW_HOME/passwords.json"
export AIRFLOW__API__HOST=127.0.0.1
export AIRFLOW__API__PORT="$port"
export AIRFLOW__API__BASE_URL="http://127.0.0.1:$port" # with the port alone, tasks look for the API elsewhere
export AIRFLOW__USAGE_DATA_COLLECTION__ENABLED=false

# As many trainings at once as there are GPUs, or one for every two cores; each with its share of the cores.
cores=$(getconf _NPROCESSORS_ONLN)
gpus=$("$root/.venv/bin/python" -c 'from pipeline import gpu; print(len(gpu.found()))')
slots=${TRAINING_SLOTS:-$((gpus > 0 ? gpus : (cores > 1 ? cores / 2 : 1)))}
export TF_NUM_INTRAOP_THREADS="${TF_NUM_INTRAOP_THREADS:-$((cores / slots > 0 ? cores / slots : 1))}"

# Two small trainings on generated radiographs. So few of them teach little: without a minimum the gate lets the candidate
# pass all the same, in its workspace, so that promotion and smoke test are seen too.
phantoms='{"runs": ["custom_cnn-raw-0", "custom_cnn-balanced-0"], "epochs": 3, "settings": {"ingest": {"dataset": "phantom"},
  "gate": {"validation": {"min_sensitivity": 0, "min_specificity": 0}, "stress": {"min_sensitivity": 0, "min_specificity": 0}}}}'

mkdir -p "$AIRFLOW_HOME"
migrate() {
    echo "airflow: preparing the database in $AIRFLOW_HOME" >&2
    airflow db migrate >"$AIRFLOW_HOME/migrate.log" 2>&1 || { tail -n 5 "$AIRFLOW_HOME/migrate.log" >&2; exit 1; }
}

case "${1:-}" in
up)
    migrate
    airflow pools set training "$slots" "Trainings at once" >/dev/null
    password=$(python - <<'PYTHON'
import json, os, secrets
from pathlib import Path
file = Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"])
known = json.loads(file.read_text()) if file.exists() else {}
known.setdefault("admin", secrets.token_urlsafe(12))
file.touch(mode=0o600)
file.write_text(json.dumps(known))
print(known["admin"])
PYTHON
    )
    echo "airflow: http://127.0.0.1:$port  user admin  password $password  ($slots trainings at once; Ctrl-C ends it)"
    # The parts of `airflow standalone`, without its log servers, which would listen beyond this machine.
    AIRFLOW__API_AUTH__JWT_SECRET=$(python -c 'import secrets; print(secrets.token_hex(32))')
    export AIRFLOW__API_AUTH__JWT_SECRET AIRFLOW__CORE__EXECUTOR=LocalExecutor
    # Asked again and again: a part that is asked while Python collects garbage does not hear it.
    trap 'for _ in $(seq 30); do kill $(jobs -pr) 2>/dev/null || break; sleep 1; done; kill -KILL $(jobs -pr) 2>/dev/null || wait' EXIT
    trap 'exit 130' INT TERM
    airflow api-server &
    airflow dag-processor &
    airflow scheduler --skip-serve-logs &
    wait -n # one that ends ends all
    ;;
retrain)
    migrate
    echo "airflow: one run, task after task; Airflow's own log is in $AIRFLOW_HOME/retrain.log" >&2
    # What the tasks themselves say, without the words of Airflow around it.
    python "$root/scripts/retrain_once.py" "${2:-$phantoms}" 2>&1 | tee "$AIRFLOW_HOME/retrain.log" |
        sed -u -n -E '/Tmp dir root|Running command|Output:|Command exited|oneDNN|absl::|To track the|git add|auto staging|autostage|dvc push/d; s/^[0-9TZ:.-]+ \[[a-z ]+\] (.*[^ ]) +\[[a-z.]*(SubprocessHook|unusual_prefix[^]]*)\].*/\1/p; t; /^[0-9]{4}-[0-9]{2}-/!p'
    ;;
again)
    exec python "$root/scripts/retrain_again.py"
    ;;
env)
    shift
    exec "$@"
    ;;
*)
    sed -n '2,8s/^# \{0,1\}//p' "$0" >&2
    exit 2
    ;;
esac
