"""`train.runs` in the text of params.yaml: one block a run, taken whole from one side; the rest is merged as text."""

import re
import subprocess
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dvc.utils.serialize import YAMLFileCorruptedError, parse_yaml
from ruamel.yaml.comments import CommentedMap

from pipeline.commands.three_way import BothChanged, Sides, merge, pick
from pipeline.errors import ProjectError

MARKER = "<<<<<<< "
KEY = re.compile(r"( *)([\w-]+):(?: |$)")
LABEL = "ours (train.runs is merged)"  # at the conflicts that are left outside the table


@dataclass(frozen=True)
class Run:
    """A run's settings, by which runs are compared; the comment and blank lines above it; its own lines."""

    settings: Any
    comment: str = field(compare=False)
    lines: str = field(compare=False)


@dataclass(frozen=True)
class Text:
    """params.yaml: its lines as far as `runs:`, the runs by name, and what stands after the last one."""

    before: str
    runs: dict[str, Run]
    after: str


def read(text: str, where: str, typ: str = "safe") -> Any:
    """Parse YAML as DVC does: other readers take 1e-05 for a word. With `typ="rt"` the place of each key comes along.

    Raises:
        ProjectError: it is no mapping in YAML, or a key stands twice; the message names the line.
    """
    try:
        content = parse_yaml(text, where, typ=typ)
    except YAMLFileCorruptedError as error:
        mark = getattr(error.__cause__, "problem_mark", None)
        problem = str(getattr(error.__cause__, "problem", None) or "invalid YAML").partition(" with value")[0]
        line = f", line {mark.line + 1}" if mark else ""
        raise ProjectError(f"{where}{line}: {problem}; mend it on that branch, then merge again") from None
    if not isinstance(content, dict):
        raise ProjectError(f"{where}: no mapping; mend it on that branch, then merge again")
    return content


def split(text: str, where: str) -> Text:
    """Take params.yaml apart at its runs, each in block style or in braces of its own.

    Raises:
        ProjectError: it is no YAML, or `train.runs` does not have each run on lines of its own.
    """
    train = read(text, where, typ="rt").get("train")
    runs = train.get("runs") if isinstance(train, dict) else None
    if not isinstance(runs, CommentedMap) or not runs or runs.fa.flow_style():
        raise ProjectError(
            f"{where}: train.runs must hold runs, each on lines of its own; write it so, then merge again"
        )
    lines = [line.rstrip("\r\n") + "\n" for line in text.splitlines()]
    starts, columns = zip(*(runs.lc.key(name) for name in runs), strict=True)
    ends = [*starts[1:], _end_of_table(lines, starts[-1], columns[-1])]
    top = train.lc.key("runs")[0] + 1
    sections, comment = {}, "".join(lines[top : starts[0]])
    for name, start, end, column in zip(runs, starts, ends, columns, strict=True):
        last = _end_of_run(lines, start, end, column)
        sections[str(name)] = Run(runs[name], comment, "".join(lines[start:last]))
        comment = "".join(lines[last:end])
    return Text("".join(lines[:top]), sections, comment + "".join(lines[ends[-1] :]))


def _end_of_table(lines: list[str], last: int, column: int) -> int:
    """The first line behind the last run that is less indented than a run; comments are no end."""
    for number in range(last + 1, len(lines)):
        if not _is_comment(lines[number]) and _indent(lines[number]) < column:
            return number
    return len(lines)


def _end_of_run(lines: list[str], start: int, end: int, column: int) -> int:
    """Without the comment at its end that belongs to the next run: one that is indented no deeper than the run."""
    while end > start + 1 and _is_comment(lines[end - 1]) and _indent(lines[end - 1]) <= column:
        end -= 1
    return end


def _is_comment(line: str) -> bool:
    return line.strip()[:1] in ("", "#")


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip()) if line.strip() else 0


def combine(sides: Sides[Text], keep: str | None = None) -> tuple[str, list[str]]:
    """Merge three versions of params.yaml.

    Args:
        sides: the versions.
        keep: `ours` or `theirs`: whose run holds where both sides changed it.

    Returns:
        The text, in which conflicts outside the table keep git's markers; and the runs that both sides changed.
    """
    tables = Sides(*(side.runs for side in sides))
    merged, clashes = merge(tables, keep)
    runs = ""
    for name, run in merged.items():
        held = Sides(*(table.get(name) for table in tables))
        try:
            runs += run.comment + run.lines if name in clashes else _text_of(run, held)
        except BothChanged:  # the comment above it
            runs += run.comment + run.lines
            clashes.append(name)
    before, after = (_merge_text(Sides(*(getattr(side, part) for side in sides))) for part in ("before", "after"))
    return before + runs + after, clashes


def _text_of(run: Run, held: Sides[Run | None]) -> str:
    """The comment of the side that changed it; the lines of the side that changed the settings, or else the layout."""
    comment = pick(Sides(*(side.comment if side else "" for side in held)))
    base, ours, theirs = held
    only_theirs = ours and theirs and ours == theirs and base and base.lines == ours.lines
    return comment + (theirs.lines if theirs and only_theirs else run.lines)


def _merge_text(sides: Sides[str]) -> str:
    """`git merge-file`: the merged text, conflicts with their markers."""
    with tempfile.TemporaryDirectory() as folder:
        for name, text in sides._asdict().items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        command = ["git", "merge-file", "-p", "--diff3", "-L", LABEL, "-L", "base", "-L", "theirs"]
        done = subprocess.run([*command, "ours", "base", "theirs"], cwd=folder, capture_output=True, check=False)
    if done.returncode > 127:  # below that, the number of conflicts
        raise ProjectError(f"git merge-file: {done.stderr.decode().strip()}")
    return done.stdout.decode()


def conflicts(text: str) -> list[str]:
    """Where a text has conflict markers: the line of each, and the key above its first difference."""
    lines = text.splitlines()
    places = [number for number, line in enumerate(lines) if line.startswith(MARKER)]
    return [f"line {number + 1} ({_key_at(lines, number + 1)})" for number in places]


def _key_at(lines: list[str], start: int) -> str:
    """The dotted key of the first line from `start` on that has one; markers and comments have none."""
    keyed = [(number, match) for number, line in enumerate(lines) if (match := KEY.match(line))]
    depth, keys = None, list[str]()
    first = next((number for number, _ in keyed if number >= start), len(lines))
    for number, match in reversed(keyed):
        if number <= first and (depth is None or len(match[1]) < depth):
            depth = len(match[1])
            keys.insert(0, match[2])
    return ".".join(keys)
