"""Run a promotion or rollback that is killed, or held up, just before its n-th change of a file.

Usage: python promotion_driver.py promote|rollback kill|wait N. `wait` says "waiting" and goes on when its input ends.
"""

import os
import signal
import sys

from pipeline.registry import champion

CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "shutil.copyfile", "shutil.rmtree", "open")


def main() -> None:
    verb, what, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    seen = 0

    def watch(event: str, arguments: tuple) -> None:
        nonlocal seen
        if event not in CHANGES or (event == "open" and not writes(arguments)):
            return
        seen += 1
        if seen == number:
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            sys.stdout.write("waiting\n")
            sys.stdout.flush()
            sys.stdin.read()

    sys.addaudithook(watch)
    getattr(champion, verb)()


def writes(arguments: tuple) -> bool:
    """Does this `open` change a file of the project (the lock and devices are none)?"""
    path, mode, flags = arguments
    text = str(path)
    if not isinstance(path, str | os.PathLike) or "/models/" not in text and "/metrics/" not in text:
        return False
    return any(letter in (mode or "") for letter in "wax+") or bool(flags & (os.O_WRONLY | os.O_RDWR))


if __name__ == "__main__":
    main()
