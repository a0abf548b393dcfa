"""A DICOM file of one grey frame as an 8-bit image: header rules, stored values, display, each in a module of its own."""

import numpy as np

from pipeline.decoding import dicom_codestream, dicom_display, dicom_file, dicom_header, dicom_pixels, levels
from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits


def read(data: bytes, limits: Limits) -> tuple[np.ndarray, list[str]]:
    """Decode a DICOM file: uint8 [rows, columns], and warnings.

    Raises:
        UnreadableImage: too many pixels, frames or metadata, a kind of DICOM file that is not read, or a broken one.
    """
    try:
        file = dicom_file.read(data, limits)
        dicom_codestream.check_syntax(file.syntax)
        dicom_header.check_modality(file.header)
        if file.ends_early:
            raise broken("DICOM", "ends without pixel data (PixelData)")
        dicom_header.check_kind(file.header)
        dicom_header.check_size(file.header, limits)
        warnings = dicom_header.warnings(file.header)
        stored = dicom_pixels.read(file.pixels(), file.syntax, limits)
        grey, more = dicom_display.to_grey(file.header, levels.of_integers(stored.values, stored.padding))
    except (UnreadableImage, MemoryError):
        raise
    except Exception:  # noqa: BLE001 - pydicom's parser may raise anything on hostile bytes
        raise broken("DICOM", "has elements that cannot be read") from None
    return grey, [*warnings, *stored.warnings, *more]
