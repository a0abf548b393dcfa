"""BentoML's supervisor, which starts the workers, takes commands from whoever reaches it: a socket of its own user alone.

BentoML 1.4 gives it two ports on loopback, where any user of the machine could stop the service or have it run a program.
"""

import shutil
import tempfile
from typing import Any

from bentoml._internal.context import server_context


def close_ports() -> None:
    """Have the supervisor listen in a folder that only its user may enter; in a worker there is nothing to do."""
    if server_context.worker_index is not None:
        return
    from bentoml._internal.utils import circus

    class Private(circus.Arbiter):
        def __init__(self, watchers: list[Any], *, endpoint: str, pubsub_endpoint: str, **more: Any) -> None:
            folder = tempfile.mkdtemp(prefix="pneumonia-supervisor-")
            super().__init__(watchers, endpoint=f"ipc://{folder}/c", pubsub_endpoint=f"ipc://{folder}/e", **more)
            self.exit_stack.callback(shutil.rmtree, folder, ignore_errors=True)

    circus.Arbiter = Private  # type: ignore[misc]
