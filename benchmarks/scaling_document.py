"""The measured part of docs/scaling.md, from what benchmarks/costs.py and benchmarks/airflow.py kept.

python -m benchmarks.scaling_document
"""

from typing import Any

from benchmarks.support.record import KEPT
from pipeline import paths
from pipeline.files import read_json, write_text
from pipeline.reporting.markdown_blocks import insert

DOCUMENT = paths.ROOT / "docs" / "scaling.md"
TRAINED = 5232  # images of the official train and val folders
PIXELS = 128 * 128  # bytes of an image in the arrays
CARRIED = {  # times the images of today: which engine carries them
    1: "one machine, `make study` or the DAG on SQLite",
    10: "workers under Celery, one GPU each; the S3 remote; arrays still memory-mapped on each",
    100: "as above, with GPUs; arrays no longer fit a GPU's memory with the network: feed them in shards",
    10_000: "Kubernetes executor with a pod a training, data-parallel training over several GPUs (Keras' `distribution`), "
    "arrays in shards read from the S3 remote, `ingest` and `preprocess` as one task a shard",
}
ANSWERED = {  # requests a second
    10: "one service, one worker",
    100: "one service, two workers",
    1000: "one larger machine, a worker for each core",
    100_000: "services behind a load balancer, each with `models/` read-only from the same place; they share nothing",
}
WORK = {
    "validate: manifest row": "a row of the manifest",
    "preprocess: decode, resize": "decode and resize",
    "train: custom_cnn, an image an epoch": "train custom_cnn, an epoch",
    "train: xception, an image an epoch": "train xception, an epoch",
    "answer of the champion": "an answer of the released champion, upload and service around it left out",
}


def main() -> None:
    """Replace the marked blocks of docs/scaling.md."""
    write_text(DOCUMENT, insert(DOCUMENT.read_text(encoding="utf-8"), blocks(), DOCUMENT.name))


def blocks() -> dict[str, str]:
    """Every block by name."""
    kept = read_json(KEPT)
    cost = {line["what"]: line["here"] / 1000 for line in kept["costs"]["rows"]}
    return {
        "costs": _table(["work", "one core, an image"], [[text, _time(cost[what])] for what, text in WORK.items()]),
        "images": _images(cost),
        "requests": _table(
            ["requests a second", "cores for the network alone", "what carries it"],
            [[f"{rate:,}", _short(rate * cost["answer of the champion"]), by] for rate, by in ANSWERED.items()],
        ),
        "airflow": _airflow(kept["airflow-overhead"], kept.get("airflow-workers")),
    }


def _images(cost: dict[str, float]) -> str:
    header = ["images", "arrays", "preprocess, one core", "an epoch of xception, one core", "what carries it"]
    lines = []
    for times, by in CARRIED.items():
        count = times * TRAINED
        each = [cost["preprocess: decode, resize"], cost["train: xception, an image an epoch"]]
        lines.append(
            [f"{times:,} x", f"{_short(count * PIXELS / 1e9)} GB", *(_time(count * seconds) for seconds in each), by]
        )
    return _table(header, lines)


def _airflow(overhead: dict[str, Any], workers: dict[str, Any] | None) -> str:
    (alone,) = overhead["rows"]
    more = alone["here"] / alone["peer"] - 1
    said = (
        f"Measured by `python -m benchmarks.airflow` on {overhead['cores']} cores: {alone['what']}, took "
        f"{alone['here']:.0f} s where {alone['beside']} took {alone['peer']:.0f} s at the same time on the same machine, "
        f"**{100 * more:+.1f} %**{' (what is below zero is noise)' if more < 0 else ''}. "
    )
    if workers is None:
        return said + "What a second worker takes off was not measured on a free machine yet."
    (mapped,) = workers["rows"]
    return said + (
        f"{mapped['what']} of one thread each took {mapped['here']:.0f} s where they took {mapped['peer']:.0f} s "
        f"{mapped['beside']}: **{mapped['here'] / mapped['peer']:.2f}** of it."
    )


def _time(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        if seconds >= (1.5 if length > 1 else 1) * length:
            return f"{_short(seconds / length)} {unit}"
    return f"{1000 * seconds:.3g} ms"


def _short(value: float) -> str:
    """Two digits that count, written out."""
    return f"{float(f'{value:.2g}'):,g}"


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    main()
