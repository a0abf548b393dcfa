"""DVC's note of who uses which file, mended: DVC does nothing beside half a note, or one that names a process that was killed.

The note is `.dvc/tmp/rwlock`, {"write": {path: user}, "read": {path: [user, ...]}}; a user is a process id and a command.
DVC strikes out the dead itself, but not those that nobody has buried (zombies), as in a container whose first process
does not.
"""

import json
import logging
from pathlib import Path
from typing import Any

from pipeline.files import write_text

log = logging.getLogger(__name__)


def mend(folder: Path) -> bool:
    """Strike the dead out of the note of the workspace `folder`; the living, another training among them, stay in it.

    Returns:
        Whether anybody living is in it.
    """
    note = folder / ".dvc" / "tmp" / "rwlock"
    if not note.exists():
        return False
    from dvc.lock import make_lock  # heavy

    # DVC's own lock around the note: whoever writes has it, so that half a note is damage and no write under way.
    with make_lock(str(note.with_name("rwlock.lock")), tmp_dir=str(note.parent), wait=True):
        try:
            users = json.loads(note.read_text(encoding="utf-8"))
            left = {how: _living(held) for how, held in users.items()}
        except (ValueError, AttributeError, KeyError, TypeError):
            log.warning("%s was damaged: removed", note)
            note.unlink(missing_ok=True)
            return False
        if left != users:
            write_text(note, json.dumps(left))
        return any(left.values())


def _living(held: dict[str, Any]) -> dict[str, Any]:
    """The entries of one part of the note whose processes live; a path has one writer or a list of readers."""
    left = {}
    for path, users in held.items():
        if isinstance(users, list):
            alive: Any = [user for user in users if _lives(user["pid"])]
        else:
            alive = users if _lives(users["pid"]) else None
        if alive:
            left[path] = alive
    return left


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return not Path("/proc/self").exists()  # without /proc nothing is known: DVC decides
