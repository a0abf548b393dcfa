"""A three-way merge of mappings, key by key: a value is taken whole from one side, never mixed from both."""

from itertools import pairwise
from typing import Any, Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Sides(NamedTuple, Generic[T]):
    """What git keeps of a conflict: the common ancestor, and either side."""

    base: T
    ours: T
    theirs: T


class BothChanged(Exception):
    """Either side changed the same value, and not to the same."""


def pick(sides: Sides[Any]) -> Any:
    """The value of the side that changed it.

    Raises:
        BothChanged: both did, differently.
    """
    base, ours, theirs = sides
    if theirs in (ours, base):
        return ours
    if ours == base:
        return theirs
    raise BothChanged


def merge(sides: Sides[dict[str, Any]], keep: str | None = None) -> tuple[dict[str, Any], list[str]]:
    """Merge by key; a key that is absent was deleted or never there.

    Args:
        sides: the mappings.
        keep: `ours` or `theirs`: whose value holds where both sides changed it; by default `ours`.

    Returns:
        The merged mapping in the order of `ours`, what `theirs` adds behind the key that it follows there; and the keys
        that both sides changed.
    """
    merged, clashes = {}, []
    for key in _order(*sides):
        held = Sides(*(side.get(key) for side in sides))
        try:
            merged[key] = pick(held)
        except BothChanged:
            merged[key] = getattr(held, keep or "ours")
            clashes.append(key)
    return {key: value for key, value in merged.items() if value is not None}, clashes


def _order(base: dict[str, Any], ours: dict[str, Any], theirs: dict[str, Any]) -> list[str]:
    order = list({**ours, **base})
    for previous, key in pairwise(["", *theirs]):
        if key in order:
            continue
        place = order.index(previous) + 1 if previous else 0
        while place < len(order) and order[place] not in theirs and order[place] in ours:
            place += 1  # behind what ours added at the same place
        order.insert(place, key)
    return order
