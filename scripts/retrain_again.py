"""Clear the failed tasks of the last failed retraining, after a repair: they, and what waits for them, run again.

Started by scripts/airflow.sh beside a running `make airflow`. (`airflow tasks clear` passes over runs that were asked for
by hand or by an announcement: they have no date.)
"""

import json
import os
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

API = os.environ["AIRFLOW__API__BASE_URL"]
DAG = "pneumonia_retrain"


def main() -> None:
    """Clear them, and name them."""
    passwords = json.loads(Path(os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE"]).read_text())
    token = ask("/auth/token", {"username": "admin", "password": passwords["admin"]})["access_token"]
    runs = ask(f"/api/v2/dags/{DAG}/dagRuns?state=failed&order_by=-run_after&limit=1", token=token)["dag_runs"]
    if not runs:
        sys.exit("airflow: no retraining has failed")
    run = runs[0]["dag_run_id"]
    wanted = {"dry_run": False, "dag_run_id": run, "only_failed": True}
    cleared = ask(f"/api/v2/dags/{DAG}/clearTaskInstances", wanted, token)["task_instances"]
    sys.stdout.write(f"run {run} goes on with {', '.join(sorted({task['task_id'] for task in cleared}))}\n")


def ask(address: str, body: dict[str, Any] | None = None, token: str = "") -> Any:
    """What Airflow's API answers; POST where there is a body."""
    request = urllib.request.Request(API + address, json.dumps(body).encode() if body else None)  # noqa: S310 - loopback
    request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return json.load(answer)
    except urllib.error.HTTPError as error:
        sys.exit(f"airflow: {error.code} {error.read().decode(errors='replace')[:300]}")
    except OSError as error:
        sys.exit(f"airflow: {API} does not answer ({error}); is `make airflow` running?")


if __name__ == "__main__":
    main()
