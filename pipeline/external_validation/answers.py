"""The champion's answer to each of many files, the way that an upload goes; what was answered survives a kill."""

import asyncio
import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, TextIO

from tqdm import tqdm

from pipeline import decoding, outcomes, paths
from pipeline.data import imaging
from pipeline.data.brought_tables import cell
from pipeline.data.tables import write_table
from pipeline.data.trees import Unreadable
from pipeline.decoding.limits import Limits
from pipeline.external_validation.images import Image
from pipeline.input_check import guard
from pipeline.serving import model, uploads
from pipeline.serving.problems import Problem
from pipeline.settings import Serve

log = logging.getLogger(__name__)

COLUMNS = ["file", "status", "reason", "score", "outcome"]
REJECTED = "no_chest_radiograph"  # the input check's word


@dataclass(frozen=True)
class Answer:
    """What became of one file.

    `status`: answered; rejected (read, and the input check does not take it for a frontal chest radiograph); unreadable.
    `error` is the refusal's word for programs, empty where answered. `reason` says why, or what a reader should know of an
    answer. `sha256` is of the file, empty where its bytes could not be read. `score` is the network's, from 0 to 1, where the
    file could be read; an outcome stands beside an answer alone.
    """

    status: Literal["answered", "rejected", "unreadable"]
    error: str
    reason: str
    sha256: str = ""
    score: float | None = None
    outcome: outcomes.Outcome | None = None


def answer_all(champion: model.Model, images: Sequence[Image], serve: Serve, target: Path) -> list[Answer]:
    """The answer to each image, in order; those of a run for the same `target` that was killed are taken from its journal."""
    return asyncio.run(_answer_all(champion, images, serve, _journal(champion, serve, target)))


async def _answer_all(champion: model.Model, images: Sequence[Image], serve: Serve, journal: Path) -> list[Answer]:
    known = _recall(journal)
    if known:
        log.info("going on: %d images were answered before", len(known))
    answers = []
    with journal.open("a", encoding="utf-8") as notes:
        notes.write("\n")  # ends a line that a kill cut
        for image in tqdm(images, "images", unit="image"):
            try:
                data = image.read(int(serve.max_megabytes * 2**20))
            except Unreadable as reason:
                answers.append(Answer("unreadable", "unreadable", str(reason)))
                continue
            digest = hashlib.sha256(data).hexdigest()
            if digest not in known:
                known[digest] = replace(await _answer(champion, data, uploads.limits_of(serve)), sha256=digest)
                _note(notes, known[digest])
            answers.append(known[digest])
    return answers


async def _answer(champion: model.Model, data: bytes, limits: Limits) -> Answer:
    try:
        image = uploads.read(data, champion.side, limits)
    except Problem as problem:
        return Answer("unreadable", problem.error, problem.detail)
    except Exception as error:  # noqa: BLE001 - one file must not end the others' turn; the table names it
        return Answer("unreadable", "undecodable", f"the decoder failed ({type(error).__name__})")
    outputs = await champion.network.infer(image.pixels)
    judged = guard.judge(champion.guard, image.pixels, outputs.features)
    if judged.rejected:
        return Answer("rejected", REJECTED, judged.said, score=outputs.probability)
    told = [*image.warnings, *([judged.said] if judged.said else [])]
    outcome = outcomes.outcome(outputs.probability, champion.thresholds)
    return Answer("answered", "", "; ".join(told), score=outputs.probability, outcome=outcome)


def write(path: Path, images: Iterable[Image], answers: Iterable[Answer]) -> None:
    """The table of every image: file, status, reason, score, outcome."""
    write_table(path, COLUMNS, (_row(image, answer) for image, answer in zip(images, answers, strict=True)))


def _row(image: Image, answer: Answer) -> dict[str, str]:
    score = "" if answer.score is None else f"{answer.score:.6g}"
    told = {"status": answer.status, "reason": cell(answer.reason), "score": score, "outcome": answer.outcome or ""}
    return {"file": cell(image.name), **told}


def forget(champion: model.Model, serve: Serve, target: Path) -> None:
    """Remove the journal: what it holds has been written to `target`."""
    _journal(champion, serve, target).unlink(missing_ok=True)


def _journal(champion: model.Model, serve: Serve, target: Path) -> Path:
    """Where the answers of a run wait: another champion, limit, reader or target has another journal."""
    folders = (Path(decoding.__file__).parent, Path(uploads.__file__).parent)
    reader = [Path(imaging.__file__), *(file for folder in folders for file in sorted(folder.glob("*.py")))]
    read_by = champion.profile.version if champion.profile else ""
    parts = [champion.version, read_by, str(uploads.limits_of(serve)), str(serve.max_megabytes), str(target.resolve())]
    digest = hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape"))
    for file in reader:
        digest.update(file.read_bytes())
    folder = paths.CACHE / "answers"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{digest.hexdigest()[:24]}.jsonl"


def _note(notes: TextIO, answer: Answer) -> None:
    notes.write(json.dumps(asdict(answer)) + "\n")
    notes.flush()


def _recall(journal: Path) -> dict[str, Answer]:
    """Answers by the digest of the file; the last line may have been cut by the kill."""
    return dict(_lines(journal)) if journal.exists() else {}


def _lines(journal: Path) -> Iterator[tuple[str, Answer]]:
    for line in journal.read_text(encoding="utf-8").split("\n"):
        try:
            answer = Answer(**json.loads(line))
            yield answer.sha256, answer
        except (ValueError, TypeError):
            continue
