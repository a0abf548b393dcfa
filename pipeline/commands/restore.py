"""`make restore`: bring back the last good outputs after a stage failed, those in git first and then those in DVC's cache.

DVC deletes a stage's outputs before it runs the stage: what is gone is brought back. What is new or changed and not
committed would be lost, so that is refused; `make restore FORCE=1` gives it up.
"""

import argparse

from pipeline import dvc, git
from pipeline.command import run
from pipeline.errors import ProjectError

RESULTS = ("dvc.lock", "predictions", "metrics", "plots", "docs/model-card.md", "docs/data-card.md")  # what git keeps


def main() -> None:
    """Put back what the last commit and its dvc.lock name."""
    parser = argparse.ArgumentParser(
        prog="python -m pipeline.commands.restore", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--force", action="store_true", help="give up results that are not committed")
    arguments = parser.parse_args()
    work = uncommitted()
    if work and not arguments.force:
        few = ", ".join(work[:3]) + (f" and {len(work) - 3} more" if len(work) > 3 else "")
        raise ProjectError(f"results that are not committed would be lost: {few}; commit them, or make restore FORCE=1")
    git.output("checkout", "--quiet", "HEAD", "--", *RESULTS)
    # dvc.lock first: it says which outputs are the last good ones. A network may be on another machine.
    if dvc.call("checkout", "--force", "--allow-missing") != 0:
        raise ProjectError("dvc checkout failed (its message is above); what git keeps is back")


def uncommitted() -> list[str]:
    """Results that are changed or new since the last commit; a deleted file is no work that could be lost."""
    listed = git.output("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", *RESULTS).split(
        "\0"
    )
    return [line[3:] for line in listed if line and line[:2] not in (" D", "D ")]


if __name__ == "__main__":
    run("restore", main)
