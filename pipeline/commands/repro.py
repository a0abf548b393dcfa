"""`make repro`: check settings and inputs, say how many trainings would run and how long, then `dvc repro`.

DVC deletes a stage's outputs before it runs the stage, so whatever can be found wrong is found before.
"""

import argparse
import logging
import os
import shutil
import sys
from pathlib import Path

from pipeline import dvc, gpu, paths, settings
from pipeline.command import run
from pipeline.commands import missing_data
from pipeline.data import layouts
from pipeline.errors import ProjectError
from pipeline.files import read_json
from pipeline.learning import networks

log = logging.getLogger(__name__)

RATES = paths.ROOT / "benchmarks" / "training.json"  # images a second of each network, measured
FREE_BYTES = 4 * 2**30


def check_inputs(chosen: settings.Settings, trainings: list[str]) -> None:
    """What can be known to be wrong before anything is deleted.

    Raises:
        ProjectError: a source folder of the wrong shape, a weight file that is not there, a full or unwritable disk.
    """
    if not os.access(paths.ROOT, os.W_OK):
        raise ProjectError(f"{paths.ROOT} cannot be written to")
    if shutil.disk_usage(paths.ROOT).free < FREE_BYTES:
        raise ProjectError(f"less than {FREE_BYTES >> 30} GiB are free below {paths.ROOT}; make room first")
    copy, weights = os.environ.get("CXR_DATA"), os.environ.get("CXR_WEIGHTS")
    if copy and chosen.ingest.dataset != "phantom":
        log.info("%s holds %s", copy, layouts.find(Path(copy).expanduser()).summary())
    pretrained = {chosen.runs[name].network for name in trainings if chosen.runs[name].weights == "imagenet"}
    if weights and pretrained:
        if not Path(weights).is_dir():
            raise ProjectError(f"CXR_WEIGHTS is no folder: {weights}")
        for network in sorted(pretrained):
            networks.weight_file(network)  # names a file that is missing


def forecast(chosen: settings.Settings, trainings: list[str]) -> str:
    """One line: how many trainings would run, and about how long they take on two cores."""
    if not trainings:
        return "no training would run"
    rates = read_json(RATES, otherwise={}).get("pictures_per_second", {})
    unknown = [name for name in trainings if chosen.runs[name].network not in rates]
    if unknown:
        return f"{len(trainings)} trainings would run"
    seconds = sum(
        chosen.runs[name].training.epochs
        * _images(chosen.runs[name].group, chosen.groups.sets[chosen.runs[name].group].balanced)
        / rates[chosen.runs[name].network]
        for name in trainings
    )
    return f"{len(trainings)} trainings would run, about {seconds / 3600:.1f} hours on two CPU cores"


def _images(group: str, balanced: bool) -> int:
    """Images an epoch: counted where the row list is at hand, else the real set's."""
    path = paths.group(group)
    if path.exists():
        with path.open(encoding="utf-8") as lines:
            return sum(1 for _ in lines) - 1
    return 7000 if balanced else 4700


def main() -> None:
    """Check, say, and hand over to DVC."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.commands.repro", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--source", help="a folder with the data set, instead of Kaggle; ingest runs again")
    parser.add_argument("--check", action="store_true", help="check and say only")
    arguments, rest = parser.parse_known_args()
    if arguments.source:
        os.environ["CXR_DATA"] = str(Path(arguments.source).expanduser().resolve())
    chosen = settings.load()
    if arguments.source and chosen.ingest.dataset == "phantom":
        raise ProjectError(
            "params.yaml: ingest.dataset is phantom, so SOURCE would not be read; set it to chest-xray-pneumonia"
        )
    trainings = dvc.trainings_to_run(chosen.runs)
    check_inputs(chosen, trainings)
    log.info("settings and inputs are good; %s", forecast(chosen, trainings))
    if trainings:
        gpu.warn_of_unseen()
    if kept := dvc.lacking_a_network_alone(trainings):
        log.warning("trained again, though `make study` would not (only networks are not here): %s", ", ".join(kept))
    if not arguments.source:
        for stage in missing_data.check(rest):
            log.warning("lacks data; it runs only if the stages before it write something new: %s", stage)
    if arguments.check:
        return
    code = dvc.call("repro", "--single-item", "--force", "ingest") if arguments.source else 0
    code = code or dvc.call("repro", *rest)
    if code:
        sys.exit("repro: a stage failed (its message is above); `make restore` brings back the last good outputs")


if __name__ == "__main__":
    run("repro", main)
