"""The real dvc.yaml with commands that only write their outputs: what DVC does with the graph, in seconds."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from pipeline import dvc
from tests.retraining_fixture import ROOT, clean_environment, git

RUN = "custom_cnn-raw-0"
KEPT = [RUN, "custom_cnn-robust-0"]
COPIED = (".dvc/config", ".dvc/plots/by_run.json", ".dvcignore", ".gitignore", "params.yaml")
WRITE = """\
said=$1; shift
for out; do
  mkdir -p "$(dirname "$out")"
  case $out in
    data/groups) mkdir -p $out; for name in augmented balanced raw robust validation; do echo row > $out/$name.csv; done ;;
    *.json) echo '{"candidate": {"said": "'"$said"'"}}' > $out ;;
    *.*) echo "$said" > $out ;;
    *) mkdir -p "$out"; echo "$said" > "$out/part" ;;
  esac
done
"""


def outs(stage: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The outputs of a stage of dvc.yaml, each with its options."""
    listed = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    return dict((out, {}) if isinstance(out, str) else next(iter(out.items())) for out in listed)


def create(folder: Path, runs: list[str] | None = None) -> Path:
    """A repository with the real graph and these runs, whose stages write a line; as one commit, nothing run yet."""
    for name in COPIED:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, folder / name)
    if runs is not None:
        keep_runs(folder, runs)
    graph = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    for name, stage in graph["stages"].items():
        definition = stage.get("do", stage)
        said = "${key} ${item.epochs}" if "foreach" in stage else name
        definition["cmd"] = f"sh write.sh '{said}' {' '.join(outs(definition))}"
        definition["deps"] = [
            "write.sh",
            *(path for path in definition.get("deps", []) if not path.startswith("pipeline/")),
        ]
    (folder / "dvc.yaml").write_text(yaml.safe_dump(graph, sort_keys=False, width=1000), encoding="utf-8")
    (folder / "write.sh").write_text(WRITE, encoding="utf-8")
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "graph")
    return folder


def keep_runs(folder: Path, names: list[str]) -> None:
    """Take the other runs out of params.yaml; the rest of the text stays as it is laid out."""
    file = folder / "params.yaml"
    before, rest = file.read_text(encoding="utf-8").split("  runs:", 1)
    runs, after = rest.split("  planned:", 1)
    entry = re.compile(r"^    ([\w-]+):\n(?:      .*\n)+", re.MULTILINE)
    runs = entry.sub(lambda match: match[0] if match[1] in names else "", runs)
    file.write_text(f"{before}  runs:{runs}  planned:{after}", encoding="utf-8")
    assert list(yaml.safe_load(file.read_text(encoding="utf-8"))["train"]["runs"]) == names


def commit(folder: Path, subject: str) -> None:
    git(folder, "add", "-A")
    git(folder, "-c", "user.name=t", "-c", "user.email=t@t", "commit", "-q", "-m", subject)


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run DVC there."""
    return subprocess.run(
        dvc.command(*arguments), cwd=folder, env=clean_environment(), capture_output=True, text=True, check=False
    )


def good(done: subprocess.CompletedProcess[str]) -> str:
    """What a command printed; it has ended with 0."""
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


def ran(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The stages that `dvc repro` started."""
    return [line.split("'")[1] for line in good(done).splitlines() if line.startswith("Running stage")]


def documented(start: str) -> list[str]:
    """The arguments of the line of docs/operating.md that begins so, without `dvc` and its remark."""
    text = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    (line,) = (line for line in text.splitlines() if line.startswith(start))
    return shlex.split(line, comments=True)[1:]
