"""What the header of a DICOM file must say to be read as a radiograph, and what it says that a reader should know."""

import re
import unicodedata

from pydicom.dataset import Dataset

from pipeline.decoding.dicom_values import integer, text
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import Limits

MODALITIES = ("CR", "DX", "DR")
KNOWN = ", ".join(MODALITIES)
PHOTOMETRIC = ("MONOCHROME1", "MONOCHROME2")
VIEWS = ("AP", "PA")
# Beginnings and ends of words that say chest (PORTABLECHEST, HEMITHORAX), and what says that more than the chest is meant.
CHEST = ("CHEST", "THORA", "TORA", "LUNG", "PULM", "RIB", "CXR")
CHEST_ENDS = ("CHEST", "THORAX", "RIBS", "LUNG", "LUNGS", "CXR")
ELSEWHERE = ("ABD", "PELV", "SPIN", "LUMB", "HEAD", "NECK", "SKULL")
CHILD = (1.0, 6.0)  # from the first birthday to the day before the sixth
UNMEASURED = "accuracy on DICOM files is unmeasured: the network was trained and tested on JPEG images"


def check_modality(header: Dataset) -> None:
    """Refuse what says that it is no radiograph."""
    modality = text(header, "Modality")
    if modality and modality not in MODALITIES:
        raise UnreadableImage(
            "unsupported_modality", f"the DICOM file has another Modality than the radiographs that are read: {KNOWN}"
        )


def check_kind(header: Dataset) -> None:
    """Refuse what does not say that it is a radiograph of one grey channel of 8 or 16 bits."""
    if not text(header, "Modality"):
        raise UnreadableImage("unsupported_modality", f"the DICOM file does not say its Modality: {KNOWN}")
    photometric = text(header, "PhotometricInterpretation")
    samples = integer(header, "SamplesPerPixel", 1)
    if not photometric:
        raise UnreadableImage("undecodable", "the DICOM file does not say its PhotometricInterpretation")
    if photometric not in PHOTOMETRIC:
        raise UnreadableImage(
            "colour", "the DICOM file's PhotometricInterpretation is neither MONOCHROME1 nor MONOCHROME2"
        )
    if samples != 1:
        raise UnreadableImage("colour", f"the DICOM file has {samples} samples a pixel (SamplesPerPixel); 1 is read")
    allocated = integer(header, "BitsAllocated")
    if allocated not in (8, 16):
        raise UnreadableImage("unsupported_type", f"the DICOM file has BitsAllocated {allocated}; 8 and 16 are read")
    stored = integer(header, "BitsStored", allocated)
    if not 1 <= stored <= allocated:
        raise UnreadableImage("undecodable", f"the DICOM file has BitsStored {stored} in BitsAllocated {allocated}")


def check_size(header: Dataset, limits: Limits) -> None:
    """Refuse too many frames or pixels."""
    frames = integer(header, "NumberOfFrames", 1)
    if frames > 1:
        limits.check_frames("DICOM", frames)
    rows, columns = integer(header, "Rows"), integer(header, "Columns")
    if rows < 1 or columns < 1:
        raise UnreadableImage("undecodable", "the DICOM file has no Rows or no Columns")
    limits.check_pixels(columns, rows)


def warnings(header: Dataset) -> list[str]:
    """What should make a reader careful: another body part, view or age than the network was trained on."""
    messages = [UNMEASURED]
    part = text(header, "BodyPartExamined")
    if not part:
        messages.append("the body part is not given")
    elif not is_chest(part):
        messages.append("the body part is not the chest")
    view = text(header, "ViewPosition")
    if view not in VIEWS:
        messages.append("the view is not given" if not view else "the view is neither AP nor PA")
    years = age(header)
    if years is None:
        messages.append("the patient's age is unknown; the network was trained only on children aged 1-5 years")
    elif not CHILD[0] <= years < CHILD[1]:
        messages.append("the patient is not 1 to 5 years old; the network was trained on no others")
    return messages


def is_chest(part: str) -> bool:
    """Whether BodyPartExamined, in capitals, names the chest alone: CHEST, THORAX, RIBCAGE, CHEST_PA and the like."""
    plain = unicodedata.normalize("NFKD", part).encode("ascii", "ignore").decode()
    words = re.findall(r"[^\W\d_]+", plain)
    return any(word.startswith(CHEST) or word.endswith(CHEST_ENDS) for word in words) and not any(
        other in part for other in ELSEWHERE
    )


def age(header: Dataset) -> float | None:
    """Years at the study: PatientAge (such as 030Y, 018M), else the dates of birth and study; None where neither is given."""
    given = re.fullmatch(r"(\d{1,3})([DWMY]?)", text(header, "PatientAge"))
    if given:
        return int(given[1]) / {"D": 365.25, "W": 52.18, "M": 12, "Y": 1, "": 1}[given[2]]
    dates = [text(header, key) for key in ("PatientBirthDate", "StudyDate")]
    if all(re.fullmatch(r"\d{8}", date) for date in dates):
        born, studied = (int(date[:4]) + int(date[4:6]) / 12 + int(date[6:]) / 365 for date in dates)
        return studied - born
    return None
