"""Peak memory from ingest to groups, stage by stage, on n images and on ten times as many.

    CXR_DATA=<folder> python -m benchmarks.memory            # the real set too, when CXR_DATA names it
    python -m benchmarks.memory 5856 58560                   # generated sets of these sizes

Resident memory of the stage and its workers, summed every 20 ms (shared pages count each time). The generated images are
small, so that what is measured is how memory grows with their number, not with their size.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import yaml
from PIL import Image

from benchmarks.support import record
from pipeline import dvc, paths
from pipeline.data.phantom import generate
from pipeline.settings import Phantom

STAGES = ("ingest", "validate", "explore", "preprocess", "groups")
SIDE = 72


def small_phantoms(count: int, folder: Path, scratch: Path) -> None:
    """`count` different small images in Kaggle's layout, from some hundred phantoms and noise."""
    generate(Phantom(seed=0, train=180, val=4, test=20), scratch)
    originals = [
        (path, np.asarray(Image.open(path).convert("L").resize((SIDE, SIDE)))) for path in scratch.rglob("*.jpeg")
    ]
    draw = np.random.default_rng(0)
    for number in range(count):
        path, pixels = originals[number % len(originals)]
        copy = number // len(originals)
        target = folder / path.relative_to(scratch).parent / f"{path.stem.replace('-', f'{copy:05}-', 1)}.jpeg"
        if "person" in path.stem:
            target = target.with_name(path.stem.replace("person", f"person{copy + 1:05}") + ".jpeg")
        target.parent.mkdir(parents=True, exist_ok=True)
        noise = draw.integers(-8, 8, pixels.shape)
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(target, "JPEG", quality=80)


def resident(process: psutil.Process) -> int:
    """Bytes of a process and all below it."""
    total = 0
    for member in [process, *process.children(recursive=True)]:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def run_stage(stage: str, environment: dict[str, str]) -> tuple[float, float]:
    """Peak MiB and seconds of one stage."""
    started, peak = time.perf_counter(), 0
    process = psutil.Popen(
        [sys.executable, "-m", f"pipeline.stages.{stage}"],
        cwd=paths.ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    while process.poll() is None:
        try:
            peak = max(peak, resident(process))
        except psutil.NoSuchProcess:
            break
        time.sleep(0.02)
    if process.wait():
        sys.exit(f"{stage}: {process.stderr.read().decode()[-800:]}")
    return peak / 2**20, time.perf_counter() - started


def main() -> None:
    """Print one table."""
    counts = [int(word) for word in sys.argv[1:]] or [5856, 58560]
    print(f"{'images':24} {'stage':12} {'peak MiB':>9} {'seconds':>8}")
    with tempfile.TemporaryDirectory() as name:
        base = Path(name)
        sources: list[tuple[str, Path]] = []
        if os.environ.get("CXR_DATA"):
            sources.append(("CXR_DATA", Path(os.environ["CXR_DATA"])))
        for count in counts:
            small_phantoms(count, base / f"set{count}", base / f"seed{count}")
            sources.append((f"{count} small phantoms", base / f"set{count}"))
        rows = []
        for label, source in sources:
            highest = 0.0
            root = base / f"root-{source.name}"
            root.mkdir()
            params = yaml.safe_load(paths.PARAMS.read_text(encoding="utf-8"))
            params["validate"]["criteria"] = dict.fromkeys(params["validate"]["criteria"], "warning")
            (root / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))
            environment = dvc.environment(PIPELINE_ROOT=str(root), CXR_DATA=str(source))
            for stage in STAGES:
                peak, seconds = run_stage(stage, environment)
                print(f"{label:24} {stage:12} {peak:9.0f} {seconds:8.1f}", flush=True)
                highest = max(highest, peak)
            what = "the real set" if label == "CXR_DATA" else label
            rows.append(record.row(f"ingest to groups, peak memory of any stage: {what}", "MiB", round(highest)))
        if len(sources) > 1:
            record.keep("memory", rows)


if __name__ == "__main__":
    main()
