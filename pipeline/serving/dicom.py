"""A DICOM file as a grey picture: its header read within a budget, its size known before it is decoded.

Pixels go through the modality LUT, then the VOI LUT or window, then are inverted for MONOCHROME1 (DICOM PS3.3 C.11, PS3.4 N.2).
Tags are never logged.
"""

import io
import logging
import re
import struct
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames
from pydicom.pixels import apply_modality_lut, apply_voi
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
    RLELossless,
)

from pipeline.serving import containers
from pipeline.serving.problems import Problem

MODALITIES = ("CR", "DX", "DR")
VIEWS = ("AP", "PA")
CHILD = (1.0, 6.0)  # from the first birthday to the day before the sixth
MAX_READS = 20_000  # of the header; a chest film needs a few hundred
MAX_HEADER = 2 * 2**20  # bytes
MAX_FRAGMENTS = 1_000
DEFLATED = b"1.2.840.10008.1.2.1.99"
ITEM = b"\xfe\xff\x00\xe0"
RAW = (ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian)
JPEG = (*JPEGTransferSyntaxes, *JPEGLSTransferSyntaxes)
BAND = 256  # rows that are worked on at once: float64 of a whole film would take eight times its size
UNMEASURED = "accuracy on DICOM files is unmeasured: the network was trained and tested on JPEG pictures"

# What pydicom says of odd values quotes them, and tags are never logged.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE
logging.getLogger("pydicom").setLevel(logging.CRITICAL + 1)
warnings.filterwarnings("ignore", module="pydicom")


@dataclass(frozen=True)
class Film:
    """Grey pixels uint8 [height, width], and what a reader should know."""

    grey: np.ndarray
    warnings: list[str]


class _Budget(io.BytesIO):
    """A file that gives out: reading a header of endless elements must end."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.reads = 0
        self.bytes = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        chunk = super().read(size)
        self.bytes += len(chunk)
        if self.reads > MAX_READS or self.bytes > MAX_HEADER:
            raise Problem(
                413, "too_much_metadata", f"the DICOM header has more than {MAX_HEADER} bytes or {MAX_READS} parts"
            )
        return chunk


def read(data: bytes, max_pixels: int) -> Film:
    """Decode a DICOM file of one grey frame.

    Raises:
        Problem: 413 too many pixels, frames or metadata, 415 a kind of DICOM file that is not read, 422 broken.
    """
    try:
        header = _header(data)
        _check_kind(header)
        _check_size(header, max_pixels)
        full = pydicom.dcmread(io.BytesIO(data), force=False)
        _check_codestream(full)
        film = Film(_to_grey(full), _cautions(header))
    except Problem:
        raise
    except Exception:  # noqa: BLE001 - a decoder that meets hostile bytes may raise anything
        raise Problem(422, "undecodable", "the DICOM file cannot be decoded") from None
    if film.grey.ndim != 2 or not film.grey.size:
        raise Problem(422, "undecodable", "the DICOM file holds no flat picture")
    return film


def _header(data: bytes) -> Dataset:
    """Everything before the pixels."""
    # pydicom would unpack a deflated file without a limit, before anyone can look at its transfer syntax.
    if DEFLATED in data[:MAX_HEADER]:
        raise Problem(415, "unsupported_type", "deflated DICOM files are not read")
    header = pydicom.dcmread(_Budget(data), stop_before_pixels=True)
    if header.file_meta.TransferSyntaxUID not in (*RAW, *JPEG, *JPEG2000TransferSyntaxes, RLELossless):
        raise Problem(415, "unsupported_type", "the DICOM file has a transfer syntax that is not read")
    return header


def _check_kind(header: Dataset) -> None:
    modality = str(header.get("Modality", ""))
    if modality not in MODALITIES:
        raise Problem(
            415,
            "unsupported_modality",
            f"the DICOM file is no radiograph: its modality is none of {', '.join(MODALITIES)}",
        )
    colour = str(header.get("PhotometricInterpretation", ""))
    if int(header.get("SamplesPerPixel", 1)) != 1 or colour not in ("MONOCHROME1", "MONOCHROME2"):
        raise Problem(415, "colour", "the DICOM file holds a colour picture; only MONOCHROME1 and MONOCHROME2 are read")
    if int(header.get("BitsAllocated", 0)) not in (8, 16):
        raise Problem(415, "unsupported_type", "the DICOM picture has neither 8 nor 16 bits allocated to a pixel")


def _check_size(header: Dataset, max_pixels: int) -> None:
    frames = int(header.get("NumberOfFrames") or 1)
    if frames != 1:
        raise Problem(
            413, "too_many_frames", f"the DICOM file has {frames} frames; at most 1 is read", frames=frames, limit=1
        )
    pixels = int(header.Rows) * int(header.Columns)
    if pixels > max_pixels:
        raise Problem(
            413,
            "too_many_pixels",
            f"{header.Columns} x {header.Rows} picture: {pixels} pixels; at most {max_pixels} are read",
            pixels=pixels,
            limit=max_pixels,
        )


def _check_codestream(full: Dataset) -> None:
    """A compressed picture has a size of its own; it must be the one that the header promised."""
    syntax = full.file_meta.TransferSyntaxUID
    if syntax in RAW or syntax == RLELossless:
        return
    if full.PixelData.count(ITEM) > MAX_FRAGMENTS:
        raise Problem(413, "too_much_metadata", f"the DICOM picture is in more than {MAX_FRAGMENTS} fragments")
    stream = next(generate_frames(full.PixelData, number_of_frames=1))
    size = containers.check_jpeg(stream) if syntax in JPEG else _jpeg2000_size(stream)
    if size != (full.Columns, full.Rows, 1):
        raise Problem(422, "undecodable", "the DICOM picture's size is not the one that its header gives")


def _jpeg2000_size(stream: bytes) -> tuple[int, int, int]:
    """Width, height and channels of a JPEG 2000 codestream (ISO 15444-1, A.5.1: the SIZ segment follows the first marker)."""
    if not stream.startswith(b"\xff\x4f\xff\x51"):
        raise Problem(422, "undecodable", "the DICOM picture is no JPEG 2000 codestream")
    right, bottom, left, top = struct.unpack_from(">4I", stream, 8)
    return right - left, bottom - top, struct.unpack_from(">H", stream, 40)[0]


def _to_grey(full: Dataset) -> np.ndarray:
    stored = full.pixel_array
    show = _display(full, stored)
    grey = np.empty(stored.shape, np.uint8)
    for start in range(0, len(stored), BAND):
        rows = slice(start, start + BAND)
        grey[rows] = np.rint(255 * np.clip(show(stored[rows]), 0, 1))
    return 255 - grey if full.PhotometricInterpretation == "MONOCHROME1" else grey


def _display(full: Dataset, stored: np.ndarray) -> Any:
    """How stored values become brightness from 0 to 1."""
    if "VOILUTSequence" in full:
        table = full.VOILUTSequence[0]
        brightest = float(2 ** int(table.LUTDescriptor[2]) - 1)
        return lambda rows: apply_voi(apply_modality_lut(rows, full).astype(np.int64), full) / brightest
    if "WindowCenter" in full and "WindowWidth" in full:
        centre, width = _first(full.WindowCenter), _first(full.WindowWidth)
        function = str(full.get("VOILUTFunction", "LINEAR"))
        return lambda rows: window(apply_modality_lut(rows, full), centre, width, function)
    inside = stored[stored != full.PixelPaddingValue] if "PixelPaddingValue" in full else stored
    ends = apply_modality_lut(np.array([inside.min(), inside.max()]), full)
    low, high = float(ends.min()), float(ends.max())
    return lambda rows: (apply_modality_lut(rows, full) - low) / max(high - low, 1e-9)


def window(values: np.ndarray, centre: float, width: float, function: str = "LINEAR") -> np.ndarray:
    """Brightness from 0 to 1 of values under a window (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3)."""
    if function == "SIGMOID":
        return 1 / (1 + np.exp(-4 * (values - centre) / width))
    if function == "LINEAR_EXACT":
        return (values - centre) / width + 0.5
    return (values - (centre - 0.5)) / max(width - 1, 1e-9) + 0.5


def _first(value: Any) -> float:
    return float(value[0] if isinstance(value, pydicom.multival.MultiValue) else value)


def _cautions(header: Dataset) -> list[str]:
    found = [UNMEASURED]
    part = str(header.get("BodyPartExamined", "")).upper()
    if part != "CHEST":
        found.append("the body part is not given" if not part else "the body part is not the chest")
    view = str(header.get("ViewPosition", "")).upper()
    if view not in VIEWS:
        found.append("the view is not given" if not view else "the view is neither AP nor PA")
    years = age(header)
    if years is None:
        found.append("the patient's age is unknown; the network knows children of 1 to 5 years alone")
    elif not CHILD[0] <= years < CHILD[1]:
        found.append("the patient is not 1 to 5 years old; the network knows no others")
    return found


def age(header: Dataset) -> float | None:
    """Years at the study: PatientAge (such as 030Y, 018M), else the dates of birth and study; None where neither is given."""
    given = re.fullmatch(r"(\d{1,3})([DWMY]?)", str(header.get("PatientAge", "") or "").strip())
    if given:
        return int(given[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1, "": 1}[given[2]]
    dates = [str(header.get(key, "") or "") for key in ("PatientBirthDate", "StudyDate")]
    if all(re.fullmatch(r"\d{8}", date) for date in dates):
        born, studied = (int(date[:4]) + int(date[4:6]) / 12 + int(date[6:]) / 365 for date in dates)
        return studied - born
    return None
