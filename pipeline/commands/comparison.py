"""Where two weight files, texts or mappings differ, in a few words; an empty list where they are equal bit by bit."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py


def compare_weights(base: Path, new: Path) -> list[str]:
    """The first array of two weight files that differs in place, shape, type or any bit; their names do not count."""
    old, now = _arrays(base), _arrays(new)
    if len(old) != len(now):
        return [f"weights: {len(old)} arrays, then {len(now)}"]
    for (name, before), (_, after) in zip(old, now, strict=True):
        if before.shape != after.shape or before.dtype != after.dtype or before.tobytes() != after.tobytes():
            return [f"weights from {name} on"]
    return []


def _arrays(path: Path) -> list[tuple[str, Any]]:
    """Every array of an HDF5 file with its name, in the file's order."""
    arrays: list[tuple[str, Any]] = []
    with h5py.File(path) as file:
        file.visititems(lambda name, node: arrays.append((name, node[()])) if isinstance(node, h5py.Dataset) else None)
    return arrays


def compare_lines(base: str, new: str) -> list[str]:
    """The first line (from 1) in which two texts differ."""
    old, now = base.splitlines(keepends=True), new.splitlines(keepends=True)
    if base == new:
        return []
    places = (place for place, (before, after) in enumerate(zip(old, now, strict=False), 1) if before != after)
    return [f"line {next(places, min(len(old), len(now)) + 1)}"]


def compare_mappings(base: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """The keys whose values differ, or that only one has."""
    absent = object()
    keys = [key for key in sorted({*base, *new}) if base.get(key, absent) != new.get(key, absent)]
    return [f"{key}: {base.get(key, 'absent')}, then {new.get(key, 'absent')}" for key in keys]
