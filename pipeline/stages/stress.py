"""Stage `stress`: what a trained network says of the validation images under each change of both families."""

import logging
import sys
from collections.abc import Callable

import numpy as np

from pipeline import paths
from pipeline.command import run
from pipeline.data.tables import read_table, write_table
from pipeline.errors import ProjectError
from pipeline.inference import Graph
from pipeline.registry import contract
from pipeline.robustness.families import TRAINED, UNSEEN

log = logging.getLogger("stress")


def main() -> None:
    """Write the logits of one run's network under each change."""
    if len(sys.argv) != 2:
        raise ProjectError("usage: python -m pipeline.stages.stress RUN (a key of train.runs in params.yaml)")
    name = sys.argv[1]
    answer = network_of(name)
    rows = [int(row["row"]) for row in read_table(paths.group("validation"))]
    images = np.load(paths.array("development"), mmap_mode="r")[rows]
    for family, columns in ((TRAINED, ["row", "change", "logit"]), (UNSEEN, ["version", "row", "change", "logit"])):
        stressed = (
            {"version": family.version, "row": row, "change": name_of_change, "logit": f"{logit:.5g}"}
            for name_of_change, change in family.changes.items()
            for row, logit in enumerate(answer(change(images)))
        )
        written = ({key: line[key] for key in columns} for line in stressed)
        write_table(paths.predictions(name) / f"{family.name}.csv", columns, written)


def network_of(name: str) -> Callable[[np.ndarray], np.ndarray]:
    """From images, uint8 [n, side, side], to logits [n]: the run's network, else the graph of a champion that it became.

    Raises:
        ProjectError: neither is here.
    """
    if paths.network(name).is_file():
        from pipeline.learning import predict, trained  # Keras: 12 s

        return predict.logit_predictor(trained.load(name))
    if (folder := contract.champion_of(name)) is None:
        raise ProjectError(f"models/runs/{name} is not here, and no champion is of this run: `dvc pull train@{name}`")
    log.info("models/runs/%s is not here: the graph of the champion %s answers", name, folder.name)
    graph = Graph(folder / "model.onnx")
    return lambda images: graph.answer(images).logits


if __name__ == "__main__":
    run("stress", main)
