"""The walls between the rooms, and what may not lie in the repository."""

import ast
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from pipeline import paths, settings, study

ROOT = Path(__file__).resolve().parents[2]
ROOMS = ("data", "learning", "evaluation", "registry", "serving", "external_validation", "retraining")
OWN = ("pipeline", "benchmarks", "tests", "scripts")
# What a room may import of the others; what every room may use stands above the rooms.
MAY_IMPORT = {
    "data": set(),
    "evaluation": {"data"},
    "learning": {"data", "evaluation"},
    "serving": {"data", "evaluation"},
    "external_validation": {"data", "evaluation", "learning", "serving"},
    "registry": {"data", "evaluation", "learning", "serving"},
    "retraining": {"data", "evaluation", "registry", "serving"},
}
FORBIDDEN = {
    "data": {"keras", "tensorflow", "keras_cv"},
    "evaluation": {"keras", "tensorflow", "keras_cv"},
    # TensorFlow comes in by two doors alone: keras-cv, and pipeline/fused_normalization.py.
    "learning": {"tensorflow", "mlflow"},
    "serving": {"keras", "tensorflow", "keras_cv", "pandas"},
}


def imports(path):
    """Every module that a file imports, at its top or within."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def is_there(name):
    """Whether a dotted name of this project is a module, a package, or said in the module or package that it follows."""
    path = ROOT / name.replace(".", "/")
    holder = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return path.is_dir() or path.with_suffix(".py").is_file() or (holder.is_file() and path.name in holder.read_text())


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_no_stage_and_nothing_upward(room):
    files = sorted((ROOT / "pipeline" / room).glob("*.py"))
    assert files
    for file in files:
        rooms = {name.split(".")[1] for name in imports(file) if name.startswith("pipeline.")} & {*ROOMS, "stages"}
        assert rooms <= MAY_IMPORT[room] | {room}, f"{file.name} imports {rooms - MAY_IMPORT[room] - {room}}"


@pytest.mark.parametrize("room", FORBIDDEN)
def test_a_room_knows_no_framework(room):
    for file in sorted((ROOT / "pipeline" / room).glob("*.py")):
        assert not {name.split(".")[0] for name in imports(file)} & FORBIDDEN[room], file.name


def test_what_is_imported_of_this_project_is_there():
    """Benchmarks are run by hand: without this, what a move breaks in them would be found late."""
    files = [name for name in tracked() if name.endswith(".py") and (ROOT / name).exists()]
    assert any(name.startswith("benchmarks/") for name in files)
    own = {(file, name) for file in files for name in imports(ROOT / file) if name.split(".")[0] in OWN}
    assert not [(file, name) for file, name in sorted(own) if not is_there(name)]


def test_dags_import_airflow_and_the_standard_library_alone():
    import sys

    for file in (ROOT / "dags").glob("*.py"):
        others = {name.split(".")[0] for name in imports(file)} - sys.stdlib_module_names - {"airflow"}
        assert not others, f"{file.name} imports {others}"


def test_every_stage_has_its_module_and_every_dependency_is_there():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        assert stage["cmd"].startswith(f"python -m pipeline.stages.{name}")
        assert f"pipeline/stages/{name}.py" in stage["deps"]
        for dependency in stage["deps"]:
            if dependency.startswith("pipeline/"):
                assert (ROOT / dependency).exists(), dependency
                assert dependency not in (f"pipeline/{name}.py" for name in ("paths", "schema", "settings"))


def outputs_of(stage):
    """The paths that a stage of dvc.yaml writes; of the trainings, the folder that holds them."""
    outs = [out for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    named = (out if isinstance(out, str) else next(iter(out)) for out in outs)
    return [name.split("/$")[0] for name in named]


def one_holds_the_other(path, other):
    return path == other or path.startswith(f"{other}/") or other.startswith(f"{path}/")


def test_the_study_runs_every_stage_after_those_whose_outputs_it_reads():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stages = {name: stage.get("do", stage) for name, stage in stages.items()}
    order = [*study.DATA_STAGES, "train", *study.LATER_STAGES]
    assert sorted(order) == sorted(stages)
    for place, name in enumerate(order):
        late = [
            (maker, out)
            for maker in order[place + 1 :]
            for out in outputs_of(stages[maker])
            if any(one_holds_the_other(out, dependency) for dependency in stages[name]["deps"])
        ]
        assert not late, f"{name} runs before {late}"


# What every stage may use, and what changes no output: how it starts, fails, finds, reads and writes, and by how many.
NO_OUTPUT = {
    *(f"pipeline/{name}.py" for name in ("command", "errors", "files", "paths", "schema", "settings", "typed")),
    "pipeline/data/parallel.py",
    "pipeline/data/tables.py",
}
# These list fewer than they import: a further dependency would train every run again, or make data that others rest on.
AS_THEY_ARE = {"ingest", "validate", "preprocess", "groups", "train"}


def reached(path):
    """Every module of pipeline/ that a file imports, directly or through others, itself included: paths below the root."""
    found, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file.is_file() and file not in found:
            found.add(file)
            names = (name for name in imports(file) if name.startswith("pipeline."))
            waiting += [ROOT / f"{name.replace('.', '/')}.py" for name in names]
    return {file.relative_to(ROOT).as_posix() for file in found}


def test_every_module_that_can_change_an_output_is_a_dependency():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in stages.keys() - AS_THEY_ARE:
        unlisted = reached(ROOT / f"pipeline/stages/{name}.py") - set(stages[name]["deps"]) - NO_OUTPUT
        assert not unlisted, f"{name}: {sorted(unlisted)}"


def test_no_picture_of_a_patient_and_no_large_file_is_tracked():
    for name in tracked():
        assert not name.lower().endswith((".jpeg", ".jpg", ".dcm", ".npy")), name
        assert not name.startswith(("data/raw", "data/arrays", "reports/")), name
        # Pictures in pixels are those of docs/example, which shows generated radiographs alone; curves are drawn as SVG.
        assert not name.lower().endswith((".png", ".webp", ".gif", ".tif", ".tiff", ".bmp")) or name.startswith(
            "docs/example/"
        ), name
        path = ROOT / name
        assert not path.is_file() or path.stat().st_size < 45 * 2**20, name


def test_the_repository_names_no_machine_and_no_package_index():
    words = re.compile(r"(?<![\w/.$}])/(work|root)/|https?://[^\s\"']*/simple\b|--index-url|extra-index-url")
    for name in tracked():
        path = ROOT / name
        if (
            name in ("tests/code/test_walls.py", "tests/system/test_bento.py")
            or name.startswith("models/networks/files/")  # weights, named by their digest
            or path.suffix in (".h5", ".onnx", ".npz", ".png")
            or not path.is_file()
        ):
            continue
        found = words.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not found, f"{name}: {found.group(0) if found else ''}"


def test_the_committed_settings_are_whole_and_no_line_stands_twice():
    """Loading raises on a missing, unknown or impossible setting; of a line in both tables, `planned` would be silent."""
    chosen = settings.load(paths.PARAMS)
    assert not set(chosen.runs) & set(chosen.planned)
