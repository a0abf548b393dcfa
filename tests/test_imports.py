"""The import rules, and what may not lie in the repository."""

import ast
import re
import subprocess
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import yaml

from pipeline import paths, settings
from pipeline.ci import no_images
from pipeline.commands import study
from pipeline.learning import augmentation, networks

ROOT = Path(__file__).resolve().parents[1]
OWN = ("pipeline", "benchmarks", "tests", "scripts")
# What a package may import of the others; what every package may use stands at the root of pipeline/.
MAY_IMPORT: dict[str, set[str]] = {
    "decoding": set(),
    "data": {"decoding"},
    "robustness": set(),
    "evaluation": {"data", "robustness"},
    "input_check": set(),
    "learning": {"data", "evaluation"},
    "figures": {"data", "evaluation"},
    "explain": {"data", "evaluation", "figures"},
    "serving": {"data", "decoding", "evaluation", "input_check", "registry"},
    "external_validation": {"data", "decoding", "evaluation", "input_check", "learning", "serving"},
    "registry": {"data", "evaluation", "learning", "robustness"},
    "tracking": {"data", "evaluation", "registry"},
    "reporting": {"data", "evaluation", "explain", "figures", "registry"},
    "ci": {"data", "evaluation", "registry"},
    "retraining": {"data", "registry"},
    "commands": {"data", "evaluation", "learning", "registry"},
    "stages": {
        "data",
        "decoding",
        "evaluation",
        "explain",
        "figures",
        "input_check",
        "learning",
        "registry",
        "reporting",
        "robustness",
        "serving",
    },
}
FORBIDDEN = {
    "decoding": {"keras", "tensorflow", "keras_cv", "pandas", "bentoml", "starlette"},
    "data": {"keras", "tensorflow", "keras_cv"},
    "evaluation": {"keras", "tensorflow", "keras_cv"},
    "robustness": {"keras", "tensorflow", "keras_cv"},
    "input_check": {"keras", "tensorflow", "keras_cv", "pandas", "bentoml", "starlette"},
    "learning": {"mlflow"},
    "serving": {"keras", "tensorflow", "keras_cv", "pandas"},
}


def imports(path):
    """Every module that a file imports, at its top or within."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def imports_at_the_top(path):
    """The modules that a file imports when it is imported itself, those for type checking left out."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("pipeline"):
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if file_of(name).is_file() else node.module for name in inner}
    return names


def is_there(name):
    """Whether a dotted name of this project is a module, a package, or said in the module or package that it follows."""
    path = ROOT / name.replace(".", "/")
    holder = path.parent / "__init__.py" if path.parent.is_dir() else path.parent.with_suffix(".py")
    return path.is_dir() or path.with_suffix(".py").is_file() or (holder.is_file() and path.name in holder.read_text())


def tracked():
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [name for name in listed.split("\0") if name]


@pytest.mark.parametrize("package", MAY_IMPORT)
def test_a_package_imports_no_stage_and_nothing_upward(package):
    files = sorted((ROOT / "pipeline" / package).rglob("*.py"))
    assert files
    for file in files:
        others = {name.split(".")[1] for name in imports(file) if name.startswith("pipeline.")} & MAY_IMPORT.keys()
        assert others <= MAY_IMPORT[package] | {package}, (
            f"{file.name} imports {others - MAY_IMPORT[package] - {package}}"
        )


def test_the_import_rules_name_every_package_and_hold_no_circle():
    packages = {folder.parent.name for folder in (ROOT / "pipeline").glob("*/__init__.py")}
    assert packages == MAY_IMPORT.keys()
    assert tuple(TopologicalSorter(MAY_IMPORT).static_order())  # raises CycleError


def test_the_modules_hold_no_circle():
    """Imports at the top of a file: what a function imports is met only when it runs."""
    files = {file: file.relative_to(ROOT).as_posix() for file in (ROOT / "pipeline").rglob("*.py")}
    graph = {
        name: {files[file_of(other)] for other in imports_at_the_top(file) if file_of(other) in files} - {name}
        for file, name in files.items()
    }
    assert tuple(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", FORBIDDEN)
def test_a_package_knows_no_framework(package):
    for file in sorted((ROOT / "pipeline" / package).rglob("*.py")):
        assert not {name.split(".")[0] for name in imports(file)} & FORBIDDEN[package], file.name


def test_running_a_graph_needs_no_training_framework():
    """`pipeline/inference.py` stands at the root, since the service and the stages run graphs by it."""
    needed = set().union(*(imports(ROOT / file) for file in reached(ROOT / "pipeline/inference.py")))
    assert not {name.split(".")[0] for name in needed} & (FORBIDDEN["serving"] | {"bentoml", "onnx"})


def test_one_file_speaks_to_tensorflow_and_one_to_keras_cv():
    """`learning` knows Keras alone, so that it runs on another backend."""
    importers = {"tensorflow": set(), "keras_cv": set()}
    for file in sorted((ROOT / "pipeline").rglob("*.py")):
        for package in {name.split(".")[0] for name in imports(file)} & importers.keys():
            importers[package].add(file.relative_to(ROOT / "pipeline").as_posix())
    assert importers == {
        "tensorflow": {"learning/fused_normalization.py"},
        "keras_cv": {"learning/augmentation/keras_cv_adapter.py"},
    }


def test_what_is_imported_of_this_project_is_there():
    """Benchmarks are run by hand: without this, what a move breaks in them would be found late."""
    files = [name for name in tracked() if name.endswith(".py") and (ROOT / name).exists()]
    assert any(name.startswith("benchmarks/") for name in files)
    imported = {(file, name) for file in files for name in imports(ROOT / file) if name.split(".")[0] in OWN}
    assert not [(file, name) for file, name in sorted(imported) if not is_there(name)]


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
            if dependency.startswith("pipeline/") and "${" not in dependency:
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
    order = [*study.DATA_STAGES, "train", "stress", *study.LATER_STAGES]
    assert sorted(order) == sorted(stages)
    for place, name in enumerate(order):
        late = [
            (maker, out)
            for maker in order[place + 1 :]
            for out in outputs_of(stages[maker])
            if any(one_holds_the_other(out, dependency) for dependency in stages[name]["deps"])
        ]
        assert not late, f"{name} runs before {late}"


# What a stage imports and need not name, each with the reason why it cannot change an output.
NO_OUTPUT = {
    "pipeline/command.py": "starts and ends a command",
    "pipeline/data/parallel.py": "how many at a time",
    "pipeline/errors.py": "the exception that a person reads",
    "pipeline/files.py": "writes the bytes that it is given, atomically",
    "pipeline/git.py": "asks git for the commit, which goes into environment.json",
    "pipeline/old_names.py": "gives a setting its new name, not another value",
    "pipeline/paths.py": "says where files lie; another place is another output of the stage",
    "pipeline/schema.py": "checks a setting; the value is a dependency under `params`",
    "pipeline/settings.py": "checks a setting; the value is a dependency under `params`",
    "pipeline/serving/settings.py": "checks a setting that no stage reads",
    "pipeline/learning/provenance.py": "writes environment.json, which nothing depends on",
}
TABLES = {"pipeline/data/tables.py": "reads and writes rows as they are; `train` names it all the same"}
# What builds a trained network again, for those that depend on its weights: what changes it makes the training stale.
NETWORK = "builds the network whose weights, a dependency, were made by it"
REBUILT = dict.fromkeys(
    [
        *(f"pipeline/learning/{name}.py" for name in ("__init__", "engine", "predict", "settings", "trained")),
        *(f"pipeline/learning/{folder}/__init__.py" for folder in ("augmentation", "networks")),
        "pipeline/learning/networks/head.py",
    ],
    NETWORK,
)
# Of `stress`: read only where a run's network is kept nowhere and a champion was made of it.
COMMITTED_GRAPH = dict.fromkeys(
    ["pipeline/inference.py", "pipeline/labels.py", "pipeline/outcomes.py", "pipeline/registry/contract.py"],
    "finds and runs a champion's committed graph",
)


def file_of(name):
    """The file of a dotted name of this project: a module, or what a package says of itself."""
    path = ROOT / name.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def reached(path):
    """Every module of pipeline/ that a file imports, directly or through others, itself and their packages included."""
    files, waiting = set(), [path]
    while waiting:
        file = waiting.pop()
        if file.is_file() and file not in files:
            files.add(file)
            for name in imports(file):
                parts = name.split(".")
                if parts[0] == "pipeline":
                    waiting += [file_of(".".join(parts[:end])) for end in range(2, len(parts) + 1)]
    return {file.relative_to(ROOT).as_posix() for file in files if file.read_text().strip()}


def covers(dependencies, file):
    """Whether a file, or a folder that holds it, is a dependency."""
    return any(file == dependency or file.startswith(f"{dependency}/") for dependency in dependencies)


def test_every_module_that_can_change_an_output_is_a_dependency():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name, listed in stages.items():
        stage = listed.get("do", listed)
        free = NO_OUTPUT | ({} if name == "train" else TABLES | REBUILT)
        free |= COMMITTED_GRAPH if name == "stress" else {}
        files = reached(ROOT / f"pipeline/stages/{name}.py") - free.keys()
        unlisted = {file for file in files if not covers(stage["deps"], file)}
        assert not unlisted, f"{name}: {sorted(unlisted)}"


def test_a_training_depends_on_its_own_network_and_recipe_and_on_no_other():
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["do"]
    of_the_run = {
        "pipeline/learning/networks/${item.network}.py",
        "pipeline/learning/augmentation/${item.augmentation}.py",
    }
    assert of_the_run <= set(stage["deps"])
    every = {f"pipeline/learning/networks/{name}.py" for name in networks.names()}
    every |= {f"pipeline/learning/augmentation/{name}.py" for name in augmentation.names()}
    assert not every & set(stage["deps"])
    for file in every:  # a network that imported another one would need it as a dependency
        free = NO_OUTPUT.keys() | {file}
        assert {path for path in reached(ROOT / file) - free if not covers(stage["deps"], path)} == set(), file


def test_the_exceptions_are_used():
    """A reason for a file that no stage imports is one that nobody reads again."""
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    imported = set().union(*(reached(ROOT / f"pipeline/stages/{name}.py") for name in stages))
    assert (NO_OUTPUT | TABLES | REBUILT).keys() <= imported


def test_the_service_is_packed_with_all_that_it_imports_and_without_the_trainings():
    needed = set().union(
        *(reached(file) for file in (ROOT / "pipeline/serving").glob("*.py") if file.name != "site.py")
    )
    assert "pipeline/serving/service.py" in needed
    assert not [name for name in needed if name.startswith("pipeline/learning/") or name == "pipeline/settings.py"]
    bundle = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bentoml"]["build"]["include"]
    copied = re.findall(r"pipeline/[\w/.]*", (ROOT / "docker/service.Dockerfile").read_text())
    for packed in ([name.removeprefix("/").rstrip("/") for name in bundle], [name.rstrip("/") for name in copied]):
        assert not {name for name in needed if not covers(set(packed) - {"pipeline", "pipeline/data"}, name)}


def test_no_image_of_a_patient_and_no_large_file_is_tracked():
    assert not no_images.images(tracked(), ROOT)
    for name in tracked():
        assert not name.startswith(("data/raw", "data/arrays", "reports/")), name
        path = ROOT / name
        assert not path.is_file() or path.stat().st_size < 45 * 2**20, name


def test_the_repository_names_no_machine_and_no_package_index():
    words = re.compile(r"(?<![\w/.$}])/(work|root)/|https?://[^\s\"']*/simple\b|--index-url|extra-index-url")
    for name in tracked():
        path = ROOT / name
        if (
            name in ("tests/test_imports.py", "tests/system/test_bento.py")
            or name.startswith("models/networks/files/")  # weights, named by their digest
            or path.suffix in (".h5", ".onnx", ".npz", ".png")
            or not path.is_file()
        ):
            continue
        match = words.search(path.read_text(encoding="utf-8", errors="replace"))
        assert not match, f"{name}: {match.group(0) if match else ''}"


def test_the_committed_settings_are_whole_and_no_line_stands_twice():
    """Loading raises on a missing, unknown or impossible setting; of a line in both tables, `planned` would be silent."""
    chosen = settings.load(paths.PARAMS)
    assert not set(chosen.runs) & set(chosen.planned)
