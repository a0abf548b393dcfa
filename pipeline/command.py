"""How every command starts and ends: logging on, one line for an error a person can mend, an exit status."""

import logging
import os
import sys
from collections.abc import Callable

from pipeline.errors import ProjectError


def run(name: str, main: Callable[[], None]) -> None:
    """Run `main` as the command `name`; a `ProjectError` or `OSError` ends it with one line on stderr and status 1."""
    level, levels = os.environ.get("LOG_LEVEL", "INFO").upper(), logging.getLevelNamesMapping()
    if level not in levels:
        sys.exit(f"{name}: LOG_LEVEL: {level!r} must be one of {', '.join(levels)}")
    logging.basicConfig(
        level=level,
        format="%(asctime)s %(name)s: %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    try:
        main()
    except ProjectError as error:
        sys.exit(f"{name}: {error}")
    except OSError as error:
        where = f" ({error.filename})" if error.filename else ""
        sys.exit(f"{name}: {error.strerror or error}{where}")
    except KeyboardInterrupt:
        sys.exit(f"{name}: interrupted")
