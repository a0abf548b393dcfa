"""Who is a validation patient: a property of the patient alone, so that nobody moves when pictures come or go."""

import hashlib


def is_validation(patient: str, subtype: str, salt: str, percent: int) -> bool:
    """True when the salted hash of a patient's key falls in the lowest `percent` of a hundred, within its subtype."""
    digest = hashlib.sha256(f"{salt}/{subtype}/{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") * 100 < percent * 2**64
