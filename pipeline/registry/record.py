"""Who was champion when: models/promotions.jsonl and models/CHAMPION. The pointer alone says who serves."""

import json
import os
from typing import Any

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.files import write_text
from pipeline.registry import verification


def champion() -> str | None:
    """The version that models/CHAMPION names; None where there is none yet.

    Raises:
        ProjectError: the pointer is damaged.
    """
    return verification.pointer() if os.path.lexists(paths.CHAMPION) else None


def events() -> list[dict[str, Any]]:
    """Every promotion and rollback that was carried out, oldest first.

    The last one written counts only once the pointer names it: a crash before that leaves the old champion.

    Raises:
        ProjectError: a line is damaged, or the pointer names a version that was never promoted.
    """
    if not paths.PROMOTIONS.is_file():
        lines: list[dict[str, Any]] = []
    else:
        try:
            lines = [json.loads(line) for line in paths.PROMOTIONS.read_text(encoding="utf-8").splitlines() if line]
            if not all({"version", "action", "replaces"} <= set(event) for event in lines):
                raise ValueError("a line lacks version, action or replaces")
        except (ValueError, TypeError) as error:
            raise ProjectError(
                f"models/promotions.jsonl is damaged ({error!r}); `git checkout` brings it back"
            ) from None
    if lines and lines[-1]["version"] != champion():
        lines = lines[:-1]
    last = lines[-1]["version"] if lines else None
    if last != champion():
        raise ProjectError(
            f"models/CHAMPION names {champion()}, the last line of models/promotions.jsonl that was carried out {last}; "
            "`git checkout models/CHAMPION models/promotions.jsonl` brings them back together"
        )
    return lines


def line_of_champions(history: list[dict[str, Any]]) -> list[str]:
    """The versions that a rollback would go back to, oldest first, the champion last."""
    line: list[str] = []
    for event in history:
        if event["action"] == "rollback":
            line.pop()
        else:
            line.append(event["version"])
    return line


def rolled_back(history: list[dict[str, Any]]) -> set[str]:
    """Versions that a rollback took out of service."""
    return {event["replaces"] for event in history if event["action"] == "rollback"}


def append(history: list[dict[str, Any]], event: dict[str, Any]) -> None:
    """Write the record with one more line; an event that was never carried out is dropped."""
    lines = [json.dumps(line, sort_keys=True, allow_nan=False) for line in [*history, event]]
    write_text(paths.PROMOTIONS, "".join(f"{line}\n" for line in lines), durable=True)
