"""Who is a validation or test patient: a property of the patient alone, so that nobody moves when images come or go."""

import hashlib
from collections.abc import Collection, Iterable

TEST_PERCENT = 20  # of the patients of a flat folder, which has no test set of its own


def is_validation(patient: str, subtype: str, salt: str, percent: int) -> bool:
    """True when the salted hash of a patient's key falls in the lowest `percent` of a hundred, within its subtype."""
    return _hash(f"{salt}/{subtype}/{patient}") * 100 < percent * 2**64


def held_out_patients(classes: Iterable[Collection[str]]) -> set[str]:
    """The patients of a flat folder that are held out: those whose hash falls in the lowest `TEST_PERCENT` of a hundred.

    Of a class so small that none falls there, or all do, the lowest alone, or all but the highest.

    Args:
        classes: the patients of each class; one may be in several.
    """
    chosen: set[str] = set()
    for patients in classes:
        order = sorted(patients, key=lambda patient: (_hash(f"test/{patient}"), patient))
        low = sum(_hash(f"test/{patient}") * 100 < TEST_PERCENT * 2**64 for patient in order)
        chosen.update(order[: min(max(low, 1), len(order) - 1)])
    return chosen


def _hash(text: str) -> int:
    """The first eight bytes of the SHA-256."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
