"""Publishing to MLflow, killed just before its first write, then again just before its second, and so on until it is done.

Usage: python publish_driver.py     prints how many tries were killed
"""

import os
import signal
import sys
from typing import Any

from pipeline import paths
from pipeline.evaluation import predictions
from pipeline.tracking import mirror, publish, runs

WRITES = ("create_", "log_", "set_", "delete_")
MOST = 200


class Doomed:
    """A client that ends the process just before its `number`-th write."""

    def __init__(self, client: Any, number: int) -> None:
        self._client, self._left = client, number

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._client, name)
        if not name.startswith(WRITES):
            return value

        def write(*arguments: Any, **named: Any) -> Any:
            self._left -= 1
            if self._left == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return value(*arguments, **named)

        return write


def main() -> None:
    import mlflow.onnx  # noqa: F401 - once, for all tries
    from mlflow import MlflowClient  # noqa: F401

    uri = f"sqlite:///{paths.ROOT / 'mlflow.db'}"
    names = sorted(path.parent.name for path in paths.PREDICTIONS.glob("[!.]*/run.json"))
    facts = {name: predictions.read(paths.predictions(name)).facts for name in names}
    for number in range(1, MOST):
        child = os.fork()
        if child == 0:
            client = Doomed(runs.connect(uri), number)
            publish.publish(client, facts)
            mirror.publish(client)
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != -signal.SIGKILL:
            sys.stdout.write(f"{number - 1}\n")
            sys.exit(status)


if __name__ == "__main__":
    main()
