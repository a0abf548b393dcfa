"""`dvc push` from the filled cache of a study that really ran: no image reaches the remote, also when it is named."""

import json

import pytest
import yaml

from pipeline.ci.image_content import kind
from tests.study_fixture import RUNS, call

PUSHED = {"data/dataset.json", "data/groups", "data/manifest"} | {f"models/runs/{name}" for name in RUNS}


def images(folder):
    """The files below a folder that are or hold images."""
    return [file for file in folder.rglob("*") if file.is_file() and kind(file.read_bytes())]


@pytest.fixture
def remote(project, tmp_path):
    folder = tmp_path / "remote"
    assert call(project, "remote", "add", "--local", "--default", "--force", "here", str(folder)).returncode == 0
    yield folder
    assert call(project, "remote", "remove", "--local", "here").returncode == 0


def outputs(project):
    lock = yaml.safe_load((project / "dvc.lock").read_text())["stages"]
    return {out["path"]: out["md5"] for stage in lock.values() for out in stage["outs"]}


def test_no_image_is_pushed_also_when_it_is_named(project, remote):
    assert images(project / ".dvc" / "cache"), "no image in the cache: test nothing"
    for names in ([], sorted(outputs(project))):
        done = call(project, "push", *names)
        assert done.returncode == 0, done.stderr
    assert images(remote) == []
    known = {path for path, md5 in outputs(project).items() if (remote / "files" / "md5" / md5[:2] / md5[2:]).is_file()}
    assert known == PUSHED


def nowhere(project):
    """The outputs that are stored nowhere, as DVC names them."""
    return json.loads(call(project, "data", "status", "--not-in-remote", "--json").stdout)["not_in_remote"]


def test_what_is_stored_nowhere_is_named(project, remote):
    assert "models/runs/vgg16-raw-0/" in nowhere(project)
    assert call(project, "push", "train@vgg16-raw-0").returncode == 0
    assert "models/runs/vgg16-raw-0/" not in nowhere(project)
    assert "models/runs/custom_cnn-raw-0/" in nowhere(project)
