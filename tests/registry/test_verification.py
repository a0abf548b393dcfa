"""Nothing is loaded but what was promoted: every champion of git, and many states that a champion must not be in."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import paths
from pipeline.errors import ProjectError
from pipeline.registry import contract, verification
from tests.champion_fixture import point_at, seal, write_champion

CHECKOUT = Path(__file__).resolve().parents[2]
FILES = ("contract.json", "guard.npz", "model.onnx")


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose champion is whole."""
    write_champion(tmp_path)
    for name in ("CHAMPIONS", "CHAMPION"):
        monkeypatch.setattr(paths, name, tmp_path / getattr(paths, name).relative_to(paths.ROOT))
    assert verification.read(verification.pointer()).version.startswith("tiny-")
    return tmp_path


def folder_of(root: Path) -> Path:
    return root / "models" / "champions" / (root / "models" / "CHAMPION").read_text().strip()


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def rewrite(folder: Path, **changes: Any) -> None:
    """Change the contract without sealing it again."""
    terms = json.loads((folder / "contract.json").read_text())
    (folder / "contract.json").write_text(json.dumps(terms | changes))


def resealed(folder: Path, **changes: Any) -> None:
    """A champion whose contract agrees with itself and was never what a contract may be."""
    root = folder.parents[2]
    terms = json.loads((folder / "contract.json").read_text()) | changes
    try:
        version = seal(folder, terms)
    except (KeyError, TypeError, ValueError, ProjectError):  # no version can be computed
        (folder / "contract.json").write_text(json.dumps(terms))
        return
    os.replace(folder, folder.with_name(version))
    point_at(root, version)


def replace_by_link(path: Path) -> None:
    path.rename(path.with_name(f".{path.name}"))
    path.symlink_to(f".{path.name}")


def replace_by_socket(path: Path) -> None:
    path.unlink()
    here = os.open(path.parent, os.O_RDONLY)  # the address of a socket is short
    try:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"/proc/self/fd/{here}/{path.name}")
    finally:
        os.close(here)


def another_network(folder: Path) -> None:
    other = write_champion(folder.parents[2], "another", slope=-8.0)
    shutil.copy(other / "model.onnx", folder / "model.onnx")
    point_at(folder.parents[2], folder.name)


def another_version(folder: Path) -> None:
    """All files of another champion, whole, under this name."""
    other = write_champion(folder.parents[2], "another", slope=-8.0)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    point_at(folder.parents[2], folder.name)


def link_to_another(folder: Path) -> None:
    other = write_champion(folder.parents[2], "another")
    shutil.rmtree(folder)
    folder.symlink_to(other.name)
    point_at(folder.parents[2], folder.name)


def old_generation(folder: Path, **changes: Any) -> Path:
    """The same champion with a contract of 0.1.0; its folder."""
    terms = json.loads((folder / "contract.json").read_text()) | changes
    del terms["format"]
    renamed = folder.with_name(seal(folder, terms))
    os.replace(folder, renamed)
    point_at(folder.parents[2], renamed.name)
    return renamed


def points(specific: object) -> dict[str, Any]:
    """Two operating points, the specific one at this threshold."""
    return {"sensitive": {"threshold": 0.4, "bound": 0.95}, "specific": {"threshold": specific, "bound": 0.95}}


CROSSED = {"lower": {"score": 0.7, "criterion": "a"}, "upper": {"score": 0.3, "criterion": "b"}}
BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "guard flipped": (lambda f: flip(f / "guard.npz", 300), "guard.npz is not the file that was packaged"),
    "network flipped": (lambda f: flip(f / "model.onnx", 100), "model.onnx is not the file that was packaged"),
    "network's last byte flipped": (lambda f: flip(f / "model.onnx", -1), "model.onnx is not the file"),
    "guard cut": (lambda f: os.truncate(f / "guard.npz", 50), "guard.npz is not the file"),
    "network cut": (lambda f: os.truncate(f / "model.onnx", 50), "model.onnx is not the file"),
    "network empty": (lambda f: os.truncate(f / "model.onnx", 0), "model.onnx is not the file"),
    "network longer": (lambda f: os.truncate(f / "model.onnx", 10**6), "model.onnx is not the file"),
    "network far longer": (lambda f: os.truncate(f / "model.onnx", 2**40), "model.onnx has more than"),
    "network missing": (lambda f: (f / "model.onnx").unlink(), "model.onnx is missing"),
    "guard missing": (lambda f: (f / "guard.npz").unlink(), "guard.npz is missing"),
    "contract missing": (lambda f: (f / "contract.json").unlink(), "not at hand"),
    "folder missing": (shutil.rmtree, "not at hand"),
    "folder empty": (lambda f: [path.unlink() for path in f.iterdir()], "not at hand"),
    "folder a file": (lambda f: (shutil.rmtree(f), f.write_text("x")), "cannot be opened"),
    "another network": (another_network, "model.onnx is not the file"),
    "another version": (another_version, "another version"),
    "renamed": (lambda f: (os.replace(f, f.with_name("other-1")), point_at(f.parents[2], "other-1")), "another version"),
    "another file": (lambda f: (f / "weights.bin").write_text("x"), "weights.bin is a file that the contract does not"),
    "another folder": (lambda f: (f / "deeper").mkdir(), "deeper"),
    "contract cut": (lambda f: os.truncate(f / "contract.json", 100), "no valid JSON"),
    "contract empty": (lambda f: os.truncate(f / "contract.json", 0), "no valid JSON"),
    "contract no text": (lambda f: (f / "contract.json").write_bytes(b"\xff\xfe"), "no valid JSON"),
    "contract a list": (lambda f: (f / "contract.json").write_text("[]"), "must be a mapping"),
    "contract deep": (lambda f: (f / "contract.json").write_text("[" * 100_000), "no valid JSON"),
    "contract half a pair": (lambda f: rewrite(f, intended_use="\ud800"), "no valid JSON"),
    "not a number": (lambda f: rewrite(f, prevalence=float("nan")), "NaN is no number"),
    "infinite": (lambda f: rewrite(f, prevalence=float("inf")), "Infinity is no number"),
    "threshold changed": (lambda f: rewrite(f, operating_points=points(0.5)), "was changed"),
    "prevalence changed": (lambda f: rewrite(f, prevalence=0.4), "was changed"),
    "recalibration changed": (lambda f: rewrite(f, recalibration={"intercept": 1.0, "slope": 1.0}), "was changed"),
    "precision changed": (lambda f: rewrite(f, precision="bfloat16"), "was changed"),
    "scale of maps changed": (lambda f: rewrite(f, map_scale=[0.0, 1.0]), "was changed"),
    "digest changed": (lambda f: rewrite(f, files=dict.fromkeys(FILES[1:], "0" * 64)), "was changed"),
    "guard unnamed": (lambda f: rewrite(f, files={"model.onnx": "0" * 64}), "guard.npz"),
    "run changed": (lambda f: rewrite(f, run="another"), "was changed"),
    "later generation": (lambda f: rewrite(f, format=3), "format"),
    "generation taken away": (lambda f: (f / "contract.json").write_text(
        json.dumps({k: v for k, v in json.loads((f / "contract.json").read_text()).items() if k != "format"})), "was changed"),
    "prevalence of 0": (lambda f: resealed(f, prevalence=0.0), "prevalence"),
    "prevalence of 1": (lambda f: resealed(f, prevalence=1), "prevalence"),
    "prevalence a text": (lambda f: resealed(f, prevalence="0.5"), "prevalence"),
    "threshold above 1": (lambda f: resealed(f, operating_points=points(1.5)), "from 0 to 1"),
    "threshold below 0": (lambda f: resealed(f, operating_points=points(-0.1)), "from 0 to 1"),
    "threshold a text": (lambda f: resealed(f, operating_points=points("0.5")), "no number"),
    "threshold a truth": (lambda f: resealed(f, operating_points=points(True)), "no number"),
    "no thresholds": (lambda f: resealed(f, operating_points={}), "thresholds"),
    "thresholds crossed": (lambda f: resealed(f, thresholds=CROSSED), "not in order"),
    "side too small": (lambda f: resealed(f, input={"shape": [None, 8, 8, 1]}), "side"),
    "side too large": (lambda f: resealed(f, input={"shape": [None, 4096, 4096, 1]}), "side"),
    "no square": (lambda f: resealed(f, input={"shape": [None, 64, 128, 1]}), "side"),
    "shape of texts": (lambda f: resealed(f, input={"shape": [None, "64", "64", 1]}), "input"),
    "scale upside down": (lambda f: resealed(f, map_scale=[1.0, 0.0]), "map_scale"),
    "precision unknown": (lambda f: resealed(f, precision="float8"), "precision"),
    "a file outside": (lambda f: rewrite(f, files={"../CHAMPION": "0" * 64}), "files"),
    "figures a list": (lambda f: resealed(f, figures={"test": []}), "figures"),
    "old, threshold above 1": (lambda f: old_generation(f, operating_points=points(1.5)), "from 0 to 1"),
    "old, a text changed": (lambda f: rewrite(old_generation(f), intended_use="Anything."), "was changed"),
    **{f"{name} a link": (lambda f, name=name: replace_by_link(f / name), "is a link") for name in FILES},
    **{f"{name} a folder": (lambda f, name=name: ((f / name).unlink(), (f / name).mkdir()), "regular file") for name in FILES},
    **{f"{name} a socket": (lambda f, name=name: replace_by_socket(f / name), name) for name in FILES},
    **{f"{name} a pipe": (lambda f, name=name: ((f / name).unlink(), os.mkfifo(f / name)), "regular file") for name in FILES},
    "folder a link": (link_to_another, "is a link"),
}  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), BROKEN.values(), ids=BROKEN)
def test_a_broken_champion_is_refused_with_its_reason(damage: Callable[[Path], object], said: str, root: Path) -> None:
    damage(folder_of(root))
    with pytest.raises(ProjectError) as refused:
        verification.read(verification.pointer())
    message = str(refused.value)
    assert said in message
    assert message.startswith("models/champions/") and message.isprintable() and str(root) not in message
    assert verification.problem(verification.pointer()) == message


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b" \n", b"\0", b"tiny-1\0", b"..", b".", b"/", b"/etc", b"../champions/tiny", b"a/b", b"a\\b", b"~",
        b"tiny\ntiny", b"tiny-1\n\nmore", b"-tiny", b"TINY", b"t\xc3\xafny", b"\xff\xfe", b"a b", b"$(id)",
        b"a" * 121, b"a" * 10_000_000, b".hidden",
    ],
)  # fmt: skip
def test_the_pointer_is_a_plain_name(text: bytes, root: Path) -> None:
    (root / "models" / "CHAMPION").write_bytes(text)
    with pytest.raises(ProjectError, match="models/CHAMPION") as refused:
        verification.pointer()
    assert str(refused.value).isprintable() and len(str(refused.value)) < 300


def test_the_pointer_is_no_link_folder_or_pipe(root: Path) -> None:
    pointer = root / "models" / "CHAMPION"
    pointer.rename(pointer.with_name("elsewhere"))
    for make in (lambda: pointer.symlink_to("elsewhere"), pointer.mkdir, lambda: os.mkfifo(pointer)):
        make()
        with pytest.raises(ProjectError, match="models/CHAMPION (is a link|is no regular file|cannot be read)"):
            verification.pointer()
        pointer.rmdir() if pointer.is_dir() and not pointer.is_symlink() else pointer.unlink()
    with pytest.raises(ProjectError, match="models/CHAMPION is missing: there is no champion yet"):
        verification.pointer()


@given(st.text(max_size=40) | st.binary(max_size=40))
@settings(max_examples=200)
def test_no_name_reaches_outside_the_champions(name: str | bytes) -> None:
    with pytest.raises(ProjectError) as refused:
        verification.read(os.fsdecode(name) if isinstance(name, bytes) else name)
    assert "is no plain name" in str(refused.value) or "not at hand" in str(refused.value)


def test_what_a_copy_leaves_behind_while_it_runs_disturbs_nothing(root: Path) -> None:
    (folder_of(root) / ".model.onnx.aB3xYz").write_text("half of it")
    assert verification.problem(verification.pointer()) is None


def test_thresholds_of_an_old_contract_may_stand_in_either_order(root: Path) -> None:
    crossed = {name: {"threshold": value, "bound": 0.95} for name, value in (("sensitive", 0.9), ("specific", 0.6))}
    old_generation(folder_of(root), operating_points=crossed)
    assert "format" not in verification.read(verification.pointer()).contract


def champions() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "models/champions/*/contract.json"],
        cwd=CHECKOUT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    return sorted(Path(line).parent.name for line in listed.splitlines())


@pytest.mark.parametrize("version", champions())
def test_every_champion_in_git_is_whole_and_answers(version: str) -> None:
    import asyncio

    from pipeline.serving import model

    loaded = model.load(version, 1)
    asyncio.run(model.warm_up(loaded))
    grey = np.full((loaded.side, loaded.side), 127, np.uint8)
    answer = asyncio.run(loaded.network.infer(grey))
    assert 0 <= answer.probability <= 1 and list(answer.map.shape) == loaded.contract["outputs"]["map"]["shape"][1:]
    assert loaded.card()["version"] == version
    assert contract.version_of(loaded.contract) == version


def test_git_keeps_the_bytes_of_champions_whatever_it_is_told_about_line_endings(tmp_path: Path) -> None:
    """In a clone that translates line endings, and from one that does."""
    version = champions()[0]
    subprocess.run(
        ["git", "-c", "core.autocrlf=true", "clone", "-q", "--no-checkout", "--shared", str(CHECKOUT), str(tmp_path / "clone")],
        check=True,
    )  # fmt: skip
    clone = tmp_path / "clone"
    (clone / ".gitattributes").write_bytes((CHECKOUT / ".gitattributes").read_bytes())
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([*git, "checkout", "HEAD", "--", "models", "params.yaml"], cwd=clone, check=True)
    assert b"\r\n" in (clone / "params.yaml").read_bytes()  # line endings are translated there
    for path in (CHECKOUT / "models" / "champions" / version).iterdir():
        assert (clone / "models" / "champions" / version / path.name).read_bytes() == path.read_bytes(), path.name
    assert (clone / "models" / "CHAMPION").read_bytes() == (CHECKOUT / "models" / "CHAMPION").read_bytes()
