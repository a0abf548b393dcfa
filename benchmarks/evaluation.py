"""How long the whole evaluation takes: the whole table of runs at real size, every metric with its interval.

    python -m benchmarks.evaluation

Generated predictions: 525 validation images (11 changes each, of both families) and 624 test images, about as many
patients as the real set has. Beside it, in the same run, the way of a notebook: scikit-learn's AUC in a loop over
resamples.
Exit status 1 past a limit; what was measured is kept either way.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.support import record
from pipeline import paths, settings
from pipeline.evaluation import bootstrap, predictions
from tests.fake_predictions import Size, image_rows, write_run

SIZES = {"validation": Size(136, 193), "test": Size(234, 195)}
ENOUGH = {"validation": 525, "test": 624}
LOOPED = 100
WHOLE, START = 60.0, 1.5  # seconds, at most


def main() -> None:
    """Print one table."""
    options = settings.load()
    runs = list(options.table)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        rows = _rows()
        for seed, run in enumerate(runs):
            write_run(root / "predictions" / run, rows, seed=seed, quality=3.0 + seed % 7 / 4)
        (root / "params.yaml").write_bytes(paths.PARAMS.read_bytes())
        seconds = {stage: _stage(stage, root) for stage in ("evaluate", "compare")}
        test = predictions.read(root / "predictions" / runs[0]).test
    ours, theirs = _ours(test), _looped(test)
    lines = [
        f"runs {len(runs)}, resamples {options.evaluate.resamples}, "
        f"test images {len(test.paths)} of {len(set(test.patients))} patients",
        *(
            f"{f'{stage}, whole process':<48}{clock:8.1f} s  ({busy:.1f} s of processor time)"
            for stage, (clock, busy) in seconds.items()
        ),
        f"{'one AUC with its interval, here':<48}{ours:8.3f} s",
        f"{'one AUC with its interval, looped scikit-learn':<48}{theirs:8.3f} s  (from {LOOPED} resamples)",
    ]
    sys.stdout.write("\n".join(lines) + "\n")
    total = sum(clock for clock, _ in seconds.values())
    start = _start()
    sys.stdout.write(f"{'start of evaluate, until it reads':<48}{start:8.2f} s\n")
    record.keep(
        "evaluation",
        [
            record.row(
                f"evaluate and compare {len(runs)} runs of generated predictions, every interval", "s", round(total, 1)
            ),
            record.row("start of evaluate, until it reads the predictions", "s", round(start, 2)),
            record.row("one AUC with its interval", "s", round(ours, 4), round(theirs, 2), "scikit-learn in a loop"),
        ],
    )
    record.hold({f"the whole within {WHOLE} s": total < WHOLE, f"the start within {START} s": start < START})


def _rows() -> list[tuple[str, str, str, str, str]]:
    """As many images as the real splits have, cut or filled up with further radiographs of the pneumonia patients."""
    rows = []
    for split, wanted in ENOUGH.items():
        image_list = image_rows({split: SIZES[split]})
        sick = [row for row in image_list if row[2] == "PNEUMONIA"]
        extra = [(f"{path}-again{n}.jpeg", *rest) for n in range(3) for path, *rest in sick]
        rows += (image_list + extra)[:wanted] if len(image_list) < wanted else image_list[:wanted]
    return rows


def _stage(stage: str, root: Path) -> tuple[float, float]:
    """Seconds on the clock and of all cores together."""
    start, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(
        [sys.executable, "-m", f"pipeline.stages.{stage}"],
        check=True,
        env={"PIPELINE_ROOT": str(root), "LOG_LEVEL": "WARNING", "PATH": "/usr/bin:/bin"},
        stderr=subprocess.DEVNULL,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return time.perf_counter() - start, busy


def _start() -> float:
    """Seconds that a process takes to start, import the stage and read the settings."""
    start = time.perf_counter()
    script = "from pipeline import settings; from pipeline.stages import evaluate; settings.load()"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=paths.ROOT)
    return time.perf_counter() - start


def _ours(split: predictions.Split) -> float:
    start = time.perf_counter()
    sample = bootstrap.draw(split.labels, split.patients, 2000, 0)
    bootstrap.interval(bootstrap.auc(split.labels, split.logits, sample))
    return time.perf_counter() - start


def _looped(split: predictions.Split) -> float:
    from sklearn.metrics import roc_auc_score

    rows_of: dict[str, list[int]] = {}
    for row, patient in enumerate(split.patients):
        rows_of.setdefault(patient, []).append(row)
    classes = [[p for p in rows_of if split.labels[rows_of[p][0]] == kind] for kind in (False, True)]
    rng = np.random.default_rng(0)
    start = time.perf_counter()
    for _ in range(LOOPED):
        drawn = [row for names in classes for name in rng.choice(names, len(names)) for row in rows_of[name]]
        roc_auc_score(split.labels[drawn], split.logits[drawn])
    return (time.perf_counter() - start) * 2000 / LOOPED


if __name__ == "__main__":
    main()
