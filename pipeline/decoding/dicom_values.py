"""Values of DICOM elements: an empty attribute is an absent one (PS3.5, 7.4.5 and 7.4.6), and a broken one is named."""

import math
from typing import Any

from pydicom.dataset import Dataset
from pydicom.multival import MultiValue

from pipeline.decoding.errors import UnreadableImage


def value(data: Dataset, keyword: str) -> Any:
    """The value of an element, or None where it is absent or empty.

    Raises:
        UnreadableImage: it is there and cannot be read.
    """
    try:
        content = data.get(keyword)
    except Exception:  # noqa: BLE001 - pydicom's converters raise many kinds on hostile bytes
        raise UnreadableImage("undecodable", f"the DICOM file's {keyword} cannot be read") from None
    if content is None or (isinstance(content, str | bytes | MultiValue | list) and not len(content)):
        return None
    return content


def text(data: Dataset, keyword: str) -> str:
    """A value in capitals, without white space around it; "" where it is absent."""
    content = value(data, keyword)
    first = content[0] if isinstance(content, MultiValue) else content
    return "" if first is None else str(first).strip(" \0").upper()


def all_numbers(data: Dataset, keyword: str) -> list[float | None]:
    """All values, None in place of each that is no finite number; nothing where the element is absent or broken."""
    try:
        content = value(data, keyword)
    except UnreadableImage:
        return []
    many = content if isinstance(content, MultiValue | list | tuple) else [] if content is None else [content]
    return [_number(each) for each in many]


def numbers(data: Dataset, keyword: str) -> list[float]:
    """The values that are finite numbers."""
    return [each for each in all_numbers(data, keyword) if each is not None]


def number(data: Dataset, keyword: str, default: float) -> float:
    """The first number of an element, or a default where there is none."""
    values = numbers(data, keyword)
    return values[0] if values else default


def integer(data: Dataset, keyword: str, default: int | None = None) -> int:
    """The first value as a whole number.

    Raises:
        UnreadableImage: there is none, and no default.
    """
    values = numbers(data, keyword)
    if values:
        return int(values[0])
    if default is None:
        raise UnreadableImage("undecodable", f"the DICOM file does not say {keyword}")
    return default


def is_given(data: Dataset, keyword: str) -> bool:
    """Whether an element is there and not empty, readable or not."""
    try:
        return value(data, keyword) is not None
    except UnreadableImage:
        return True


def _number(each: Any) -> float | None:
    try:
        converted = float(each)
    except (TypeError, ValueError, OverflowError):
        return None
    return converted if math.isfinite(converted) else None
