"""How a section of params.yaml becomes a pydantic model, and how a mistake in it becomes one line."""

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from pipeline.errors import ProjectError


class Section(BaseModel):
    """Base of every section: frozen; no unknown key, no text for a number, neither infinity nor NaN."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


T = TypeVar("T", bound=BaseModel)


def parse(kind: type[T], value: Any, where: str, source: str = "params.yaml") -> T:
    """`value`, read from YAML, as a model.

    Args:
        kind: the model.
        value: what was read.
        where: the dotted key of the section, "" for the whole file.
        source: the file or the environment variable, named in front of the message.

    Raises:
        ProjectError: a key is missing, unknown, of the wrong type or out of range: one line with key, value and what is
            allowed.
    """
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ProjectError(f"{source}: {_line(error, where)}") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds.

    Raises:
        ProjectError: the file is missing, is no YAML, or holds something else.
    """
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.name} is missing; run this from the project's folder") from None
    except yaml.YAMLError as error:
        raise ProjectError(f"{path.name} is no valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise ProjectError(f"{path.name}: expected a mapping of sections")
    return value


def suggestion(word: str, options: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all that is known."""
    known = [str(option) for option in options]
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def _line(error: ValidationError, where: str) -> str:
    first = error.errors(include_url=False)[0]
    *parents, last = first["loc"] or ("",)
    path = _path(where, first["loc"])
    if first["type"] == "missing":
        return f"{_path(where, parents) or 'top level'}: key {last!r} is missing"
    if first["type"] == "extra_forbidden":
        return f"{_path(where, parents) or 'top level'}: unknown key {last!r}"
    if first["type"] == "value_error":
        return f"{path}: {first['ctx']['error']}"
    said = re.sub(r"^(Input|Value) should (be|have) ", lambda found: f"must {found[2]} ", first["msg"])
    return f"{path}: {first['input']!r} {said}" if said.startswith("must") else f"{path}: {first['input']!r}: {said}"


def _path(where: str, keys: Iterable[int | str]) -> str:
    path = where
    for key in keys:
        path = f"{path}[{key}]" if isinstance(key, int) else f"{path}.{key}" if path else str(key)
    return path
