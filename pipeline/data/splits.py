"""Who is a validation or test patient: a property of the patient alone, so that nobody moves when pictures come or go."""

import hashlib

TEST_PERCENT = 20  # of the patients of a flat folder, which has no test set of its own


def is_validation(patient: str, subtype: str, salt: str, percent: int) -> bool:
    """True when the salted hash of a patient's key falls in the lowest `percent` of a hundred, within its subtype."""
    return _falls_low(f"{salt}/{subtype}/{patient}", percent)


def is_test(patient: str) -> bool:
    """True when the hash of a patient's key falls in the lowest `TEST_PERCENT` of a hundred."""
    return _falls_low(f"test/{patient}", TEST_PERCENT)


def _falls_low(text: str, percent: int) -> bool:
    digest = hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
    return int.from_bytes(digest[:8], "big") * 100 < percent * 2**64
