"""The code of release 0.1.0, unpacked beside this one, so that both can be timed in one run."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from pipeline import paths

COMMIT = "43b7829"
LOOP = """
import sys, time
from pathlib import Path
from pipeline.serving import uploads
limits = uploads.Limits(20_000_000, 1)
for line in sys.stdin:
    side, repeats, path = line.rstrip("\\n").split("\\t")
    data = Path(path).read_bytes()
    seconds = []
    for _ in range(int(repeats)):
        started = time.perf_counter()
        try:
            uploads.read(data, int(side), limits)
        except Exception:
            seconds = [float("nan")]
            break
        seconds.append(time.perf_counter() - started)
    print(min(seconds), flush=True)
"""


@contextlib.contextmanager
def unpacked() -> Iterator[Path]:
    """A folder with the release's code, settings and champion."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(
            ["git", "archive", COMMIT, "pipeline", "params.yaml", "models"],
            cwd=paths.ROOT,
            stdout=subprocess.PIPE,
            check=True,
        )
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        yield Path(folder)


class Reader:
    """A process that reads files with the code below `root` and says how long it took."""

    def __init__(self, root: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOOP],
            cwd=root,
            env={"PYTHONPATH": str(root), "PIPELINE_ROOT": str(root), "PATH": ""},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self, path: Path, side: int, repeats: int) -> float:
        """The fastest of some readings of one file; NaN where it is refused."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(f"{side}\t{repeats}\t{path}\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(30)
