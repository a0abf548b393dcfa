"""How long a worker that is told to stop waits for requests and clients that do not end."""

import signal

import uvicorn


def bound(seconds: int) -> None:
    """Let this worker's server wait no longer; BentoML's option for it has no place in a service's own settings.

    The server stands behind the handler that it has set for SIGTERM.
    """
    server = getattr(signal.getsignal(signal.SIGTERM), "__self__", None)
    if isinstance(server, uvicorn.Server):
        server.config.timeout_graceful_shutdown = seconds
