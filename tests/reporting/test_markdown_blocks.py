"""The committed metrics in the documents: what stands between the markers, and how a metric is written."""

import json
import shutil

import pytest

from pipeline import settings
from pipeline.data.tables import read_table
from pipeline.errors import ProjectError
from pipeline.evaluation import formatting
from pipeline.reporting import champion_table, markdown_blocks
from tests.compared_fixture import COLLAPSED, DONE, SHORT, project, stage


def test_phantoms_are_named_wherever_their_metrics_are_shown(tmp_path):
    few = {name: DONE[name] for name in ("custom_cnn-raw-0", "densenet121-augmented-0")}
    root = project(tmp_path, few, dataset="phantom", edition="phantom")
    stage("evaluate", root)
    stage("compare", root)
    for path in (root / "plots/study").iterdir():
        assert "GENERATED RADIOGRAPHS" in path.read_text(), path.name
    for table in ("table2", "table3"):
        for row in read_table(root / f"metrics/{table}.csv"):
            assert row["status"] == "not run" or row["dataset"] == "phantom"
            assert row["published_accuracy"] == ""
    rendered = markdown_blocks.blocks(root / "metrics", settings.load(root / "params.yaml"))
    of_images = [text for name, text in rendered.items() if name not in ("speed", "quick")]
    assert all(text.startswith("**Generated radiographs (phantom)") for text in of_images)


def test_documents_are_filled_between_their_markers_and_nowhere_else(compared, tmp_path):
    root = tmp_path / "documents"
    shutil.copytree(compared, root)
    text = "# Title\n\n<!-- table2 -->\nwas here before\n<!-- /table2 -->\n\nprose\n<!-- candidate -->\n<!-- /candidate -->\n"
    text += "<!-- splits -->\n<!-- /splits -->\n<!-- caveats -->\n<!-- /caveats -->\n"
    text += "<!-- accuracy -->\n<!-- /accuracy -->\n<!-- areas -->\n<!-- /areas -->\n"
    (root / "README.md").write_text(text)
    stage("pipeline.reporting.markdown_blocks", root)
    every = [row for table in ("table2", "table3") for row in read_table(root / f"metrics/{table}.csv") if row["fp"]]
    filled = (root / "README.md").read_text()
    assert filled.startswith("# Title\n\n<!-- table2 -->\nchest-xray-pneumonia, 224px edition: ")
    assert "was here before" not in filled
    assert "custom_cnn-raw-0 (5 epochs, random)" in filled and f"{SHORT} (3 epochs, unfinished, imagenet)" in filled
    finished = [row for row in every if row["run"] in DONE and row["run"] not in (SHORT, COLLAPSED)]
    false = sum(int(row["fp"]) for row in finished)
    share = false / (false + sum(int(row["fn"]) for row in finished))
    assert (
        f"Of the errors of the {len(DONE) - 2} finished runs on the official test set at 0.5, {share:.0%} are" in filled
    )
    assert "\nprose\n" in filled
    assert "| custom_cnn-raw-0 | random, tensorflow, float32 | 5 | 0 (one seed) |" in filled
    assert "| custom_cnn-robust-0 | random | - | 0 | not run |" in filled
    accuracy, areas = (
        {
            line.split(" (")[0]: [cell.strip() for cell in line.split("|")[1:-1]]
            for line in part.splitlines()
            if "|" in line
        }
        for part in (filled.split("<!-- accuracy -->")[1].split("<!-- areas -->"))
    )
    assert accuracy["| network"] == areas["| network"] == ["network (start)", "augmented", "balanced", "raw", "robust"]
    rows = {row["run"]: row for row in every}
    estimates = (
        f"{float(rows['custom_cnn-raw-0'][name]):.3f}"[1:] for name in ("accuracy_at_sensitive", "accuracy", "auc")
    )
    assert accuracy["| custom_cnn"][3] == f"{' / '.join(estimates)} *(.771)*", (
        "own threshold, 0.5, AUC, what was published"
    )
    assert accuracy["| custom_cnn"][4] == accuracy["| resnet50"][2] == areas["| resnet50"][2] == "not run"
    assert accuracy["| densenet121"][3].endswith("*(.853)*, **3 epochs, unfinished**")
    assert accuracy["| vgg16"][1].endswith("**did not train**")
    run = json.loads((root / "metrics/runs/custom_cnn-raw-0.json").read_text())
    parts = ("validation", "stress", "unseen", "test")
    assert areas["| custom_cnn"][3] == " / ".join(f"{run[f'{part}_auc']:.3f}".removeprefix("0") for part in parts)
    assert " / network not kept / " in areas["| densenet121"][2]
    stage("pipeline.reporting.markdown_blocks", root)
    assert (root / "README.md").read_text() == filled
    with pytest.raises(ProjectError, match="no block 'table9'"):
        markdown_blocks.insert("<!-- table9 -->\n<!-- /table9 -->", {"table2": ""})


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, ".500"), (0.9994, ".999"), (0.9999994, "1 - 6.0e-07"), (0.0000212, "2.1e-05"), ("undefined", "undefined")],
)
def test_a_threshold_next_to_0_or_1_is_told_apart_from_it(value, said):
    assert formatting.threshold(value) == said


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (None, "the gate has not been asked about it"),
        ({"version": "vgg16-raw-0-1a2b", "passed": True, "rules": []}, "the gate has not been asked about it"),
        (
            {"version": "custom_cnn-raw-0-1a2b", "passed": True, "rules": []},
            "passed it, and it has not been promoted yet",
        ),
        (
            {
                "version": "custom_cnn-raw-0-1a2b",
                "passed": False,
                "rules": [
                    {"name": "AUC", "bound": -0.0064, "limit": -0.01, "passed": True},
                    {"name": "log loss", "bound": 0.0539, "limit": 0.04, "passed": False},
                ],
            },
            "rejected it: log loss, bound .054, limit .040",
        ),
    ],
)
def test_the_documents_say_what_the_gate_said_of_the_candidate(tmp_path, gate, said):
    if gate:
        (tmp_path / "gate.json").write_text(json.dumps(gate))
    assert champion_table._verdict(tmp_path / "gate.json", "custom_cnn-raw-0").endswith(said)
