"""A mapping read from YAML as typed dataclasses: a missing, unknown or ill-typed key is an error that names it."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from pipeline.errors import ProjectError

T = TypeVar("T")


def choose(options: Mapping[str, Any], name: Any, where: str, table: str) -> Any:
    """The option of this name; `where` is the key that names it, `table` the mapping that holds the options."""
    if not isinstance(name, str) or name not in options:
        raise ProjectError(f"params.yaml: {where}: {name!r} is not in {table}{_nearest(str(name), options)}")
    return options[name]


def expect_keys(value: Any, required: list[str], where: str, optional: list[str] | None = None) -> None:
    """Raise a `ProjectError` unless `value` is a mapping with all required keys and no unknown one."""
    place = where or "top level"
    expect_mapping(value, place)
    known = required + (optional or [])
    for key in value:
        if key not in known:
            raise ProjectError(f"params.yaml: {place}: unknown key {key!r}{_nearest(str(key), known)}")
    for key in required:
        if key not in value:
            raise ProjectError(f"params.yaml: {place}: key {key!r} is missing")


def expect_mapping(value: Any, where: str) -> dict[Any, Any]:
    """The value, if it is a mapping; otherwise a `ProjectError`."""
    if not isinstance(value, dict):
        raise ProjectError(f"params.yaml: {where}: expected a mapping, got {value!r}")
    return value


def _nearest(word: str, options: Any) -> str:
    close = difflib.get_close_matches(word, [str(option) for option in options], n=1)
    return f"; did you mean {close[0]!r}?" if close else f"; known: {', '.join(map(str, options))}"


def build(kind: type[T], value: Any, where: str) -> T:
    """Build the dataclass `kind` from a mapping, checking keys and types."""
    hints = typing.get_type_hints(kind)
    expect_keys(value, list(hints), where)
    prefix = f"{where}." if where else ""
    return kind(**{key: _convert(hint, value[key], prefix + key) for key, hint in hints.items()})


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin = get_origin(hint)
    if dataclasses.is_dataclass(hint):
        return build(typing.cast(type, hint), value, where)
    if origin is Literal:
        if value not in get_args(hint):
            raise ProjectError(f"params.yaml: {where}: {value!r} is none of {', '.join(map(str, get_args(hint)))}")
        return value
    if origin is dict:
        mapping = expect_mapping(value, where)
        return {str(key): _convert(get_args(hint)[1], item, f"{where}.{key}") for key, item in mapping.items()}
    if origin is list:
        if not isinstance(value, list):
            raise ProjectError(f"params.yaml: {where}: expected a list, got {value!r}")
        return [_convert(get_args(hint)[0], item, f"{where}[{place}]") for place, item in enumerate(value)]
    if origin is types.UnionType:
        if value is None:
            return None
        return _convert(next(kind for kind in get_args(hint) if kind is not type(None)), value, where)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, hint) or (hint is not bool and isinstance(value, bool)):
        raise ProjectError(f"params.yaml: {where}: expected {hint.__name__}, got {value!r}")
    return value
