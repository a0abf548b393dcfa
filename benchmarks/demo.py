"""Minutes that `make demo` takes after set-up: four small networks, from generated images to the report."""

import time

from benchmarks.support import record
from pipeline.commands import demo


def main() -> None:
    """Run it and keep the time."""
    started = time.perf_counter()
    demo.main()
    record.keep("demo", [record.row("`make demo`, set-up left out", "min", (time.perf_counter() - started) / 60)])


if __name__ == "__main__":
    main()
