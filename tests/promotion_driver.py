"""Promotions and rollbacks that are interrupted just before a change of a file.

Usage: python promotion_driver.py crash VERB     kills one try after another, each a step later, until one has moved
the champion
       python promotion_driver.py hold VERB N    says "waiting" before step N and goes on when its input ends
       python promotion_driver.py run VERB       does it

VERB: promote, rollback, or install=FOLDER, which delivers the candidate of a retraining's workspace.
"""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from pipeline import paths
from pipeline.registry import champion, contract, record
from pipeline.retraining import deliver

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree", "open")


def main() -> None:
    what, verb = sys.argv[1], sys.argv[2]
    if what == "hold":
        before_step(int(sys.argv[3]), wait)
    if what in ("hold", "run"):
        act(verb)
        return
    serving = record.champion()
    for step in range(1, 200):
        child = os.fork()  # the imports are shared; nothing has computed yet
        if child == 0:
            before_step(step, lambda: os.kill(os.getpid(), signal.SIGKILL))
            act(verb)
            sys.stdout.flush()
            os._exit(0)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        said = {"step": step, "status": status, "champion": record.champion(), "shown": champion.show()}
        terms = contract.read(paths.CANDIDATE)
        said |= {"candidate": terms["version"], "broken": contract.check_files(paths.CANDIDATE, terms)}
        sys.stdout.write(f"{json.dumps(said)}\n")
        if status != -signal.SIGKILL or record.champion() != serving:
            return


def act(verb: str) -> None:
    name, _, folder = verb.partition("=")
    if name == "install":
        deliver.install(Path(folder))
    else:
        getattr(champion, name)()


def before_step(number: int, call: Callable[[], None]) -> None:
    """Call `call` just before the process changes a file for the `number`-th time."""
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event in CHANGES and (event != "open" or writes(*arguments)):
            seen += 1
            if seen == number:
                call()

    sys.addaudithook(watch)


def wait() -> None:
    sys.stdout.write("waiting\n")
    sys.stdout.flush()
    sys.stdin.read()


def writes(path: object, mode: str | None, flags: int) -> bool:
    """Does this `open` change a file of the project?"""
    if not isinstance(path, str | os.PathLike) or not any(f"/{part}/" in str(path) for part in ("models", "metrics")):
        return False
    return any(letter in (mode or "") for letter in "wax+") or bool(flags & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    main()
