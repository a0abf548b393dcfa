"""Whose image it is: read off the file's name, and joined where two patients share an image."""

import re

_CAUSES = {"normal": "normal", "bacteria": "bacterial", "virus": "viral"}
# Names on Kaggle: IM-0115-0001, NORMAL2-IM-0383-0001, person23_bacteria_87.
_KAGGLE_NORMAL = re.compile(r"((?:NORMAL\d*-)?IM-\d+)-\d+(?:-\d+)*")
_KAGGLE_PNEUMONIA = re.compile(r"(person\d+_(bacteria|virus))_\d+(?:_\d+)*")
# In the authors' own archive (doi:10.17632/rscbjbr9sj): disease, randomized patient number, image number.
_AUTHORS = re.compile(r"((NORMAL|BACTERIA|VIRUS)-\d+)-\d+")
# Of one's own images: patient17_1, patient17_2.
_OWN = re.compile(r"(patient[A-Za-z0-9-]+)_.*", re.DOTALL)


def patient_of(name: str) -> tuple[str, str]:
    """Patient key and subtype of a file name, without the split.

    `IM-0115-0001.jpeg` is (`IM-0115`, `normal`), `person23_bacteria_87.jpeg` is (`person23_bacteria`, `bacterial`),
    `VIRUS-1008087-0001.jpeg` is (`VIRUS-1008087`, `viral`): each subtype counts its own patients.
    `patient17_2.jpeg` is (`patient17`, `unknown`). Any other name is a patient of its own, of subtype `unknown`.
    """
    stem = name.rsplit(".", 1)[0]
    if match := _KAGGLE_NORMAL.fullmatch(stem):
        return match[1], "normal"
    if match := _KAGGLE_PNEUMONIA.fullmatch(stem) or _AUTHORS.fullmatch(stem):
        return match[1], _CAUSES[match[2].lower()]
    if match := _OWN.fullmatch(stem):
        return match[1], "unknown"
    return stem, "unknown"


def names_patient(name: str) -> bool:
    """Whether a file name tells whose image it is."""
    return patient_of(name)[0] != name.rsplit(".", 1)[0]


def is_kaggle_name(name: str) -> bool:
    """Whether a file is named as in the public set on Kaggle."""
    stem = name.rsplit(".", 1)[0]
    return bool(_KAGGLE_NORMAL.fullmatch(stem) or _KAGGLE_PNEUMONIA.fullmatch(stem))


def is_authors_name(name: str) -> bool:
    """Whether a file is named as in the authors' own archive of the public set."""
    return bool(_AUTHORS.fullmatch(name.rsplit(".", 1)[0]))


class Persons:
    """Patients joined by the images they share (union-find; the smallest key stands for all)."""

    def __init__(self) -> None:
        self._owner: dict[bytes, str] = {}  # digest of an image -> the patient it was first seen with
        self._smaller: dict[str, str] = {}  # patient -> a smaller key of the same person

    def add(self, sha256: str, patient: str) -> None:
        """Note that `patient` has this image: whoever had it before is the same person."""
        mine, other = (self.key(patient), self.key(self._owner.setdefault(bytes.fromhex(sha256), patient)))
        if mine != other:
            self._smaller[max(mine, other)] = min(mine, other)

    def key(self, patient: str) -> str:
        """The smallest key of the person."""
        while patient in self._smaller:
            patient = self._smaller[patient]
        return patient
