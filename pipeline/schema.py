"""How a section of params.yaml becomes a pydantic model, and how a mistake in it becomes one line."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from pipeline.errors import ProjectError
from pipeline.old_names import with_new_names

SHOWN = 80  # characters of a value in a message


class Section(BaseModel):
    """Base of every section: frozen; no unknown key, no text for a number, neither infinity nor NaN."""

    model_config = ConfigDict(frozen=True, strict=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _expect_known_keys(cls, value: Any) -> Any:
        known = [field.alias or name for name, field in cls.model_fields.items()]
        for key in value if isinstance(value, Mapping) else ():
            if key not in known:
                said = {"key": repr(key), "hint": suggestion(str(key), known)}
                raise PydanticCustomError("unknown_key", "unknown key {key}; {hint}", said)
        return value


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
        raise ProjectError(f"{source}: {describe(error, where)}") from None


def describe(error: ValidationError, where: str = "") -> str:
    """The first mistake, in one line; `where` is the dotted key of what was validated."""
    first = error.errors(include_url=False)[0]
    keys, value, said = first["loc"], first["input"], first["msg"]
    if keys[-1:] == ("[key]",):  # a name in a mapping is wrong, not what stands under it
        keys = keys[:-2]
    if first["type"] == "missing":
        return f"{_path(where, keys[:-1]) or 'top level'}: key {keys[-1]!r} is missing"
    place = _path(where, keys) or "top level"
    if first["type"] == "unknown_key":
        return f"{place}: {said}"
    if first["type"] in ("model_type", "dict_type"):
        said = "must be a mapping"
    said = re.sub(r"^\w+ should ", "must ", said.removeprefix("Value error, ")).replace(" after validation", "")
    if first["type"] == "value_error" and isinstance(value, Mapping):  # a rule about several keys, which it names
        return f"{_path(where, keys)}.{said}".removeprefix(".")
    return f"{place}: {_shown(value)} {said}"


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping that a YAML file holds; settings under their names of today.

    Raises:
        ProjectError: the file is missing, is no YAML, or holds something else.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ProjectError(f"{path.name} is missing; run this from the project's folder") from None
    except UnicodeDecodeError as error:
        raise ProjectError(f"{path.name} is no valid YAML: {error}") from None
    value = load_yaml(text, path.name)
    if not isinstance(value, dict):
        raise ProjectError(f"{path.name}: expected a mapping of sections")
    return with_new_names(value, path.name)


def load_yaml(text: str, source: str) -> Any:
    """What a text in YAML says; `source` is the file or the environment variable that holds it.

    Raises:
        ProjectError: it is no YAML, or a key stands twice in a mapping.
    """
    try:
        return _Loader(text).get_single_data()
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that is none, a number too long
        raise ProjectError(f"{source} is no valid YAML: {' '.join(str(error).split())}") from None


def suggestion(word: str, options: Iterable[str]) -> str:
    """`did you mean 'x'?`, or all that is known."""
    known = [str(option) for option in options]
    close = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


class _Loader(yaml.SafeLoader):
    """Refuses a key that stands twice: the second would win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if twice := [key for key in keys if keys.count(key) > 1]:
            raise yaml.constructor.ConstructorError(None, None, f"the key {twice[0]!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


def _path(where: str, keys: Iterable[int | str]) -> str:
    path = where
    for key in keys:
        if isinstance(key, int):
            path = f"{path}[{key}]"
        else:
            name = key if key.isprintable() else repr(key)
            path = f"{path}.{name}" if path else name
    return path


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 3]}..."
