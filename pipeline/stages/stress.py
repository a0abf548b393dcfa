"""Stage `stress`: what a trained network says of the validation images under each change."""

import sys

import numpy as np

from pipeline import paths
from pipeline.command import run
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.robustness.families import TRAINED


def main() -> None:
    """Write the logits of one run's network under each change."""
    if len(sys.argv) != 2:
        raise ProjectError("usage: python -m pipeline.stages.stress RUN (a key of train.runs in params.yaml)")
    name = sys.argv[1]
    from pipeline.learning import predict, trained  # Keras: 12 s

    answer = predict.logit_predictor(trained.load(name))
    rows = [int(row["row"]) for row in read_table(paths.group("validation"))]
    images = np.load(paths.array("development"), mmap_mode="r")[rows]
    stressed = (
        {"row": row, "change": change, "logit": f"{logit:.5g}"}
        for change, apply in TRAINED.changes.items()
        for row, logit in enumerate(answer(apply(images)))
    )
    write_table(paths.predictions(name) / "stress.csv", ["row", "change", "logit"], stressed)


if __name__ == "__main__":
    run("stress", main)
