"""The structure of a JPEG or JPEG-LS stream, walked without decoding (ISO 10918-1, annex B; ISO 14495-1, annex C)."""

import re
import struct
from dataclasses import dataclass, replace

from pipeline.decoding.errors import UnreadableImage, broken
from pipeline.decoding.limits import Limits
from pipeline.decoding.signatures import behind_fill

MAX_SEGMENTS = 1_000  # Pillow joins those of a kind one by one, each time all of them
MAX_FILL = 2**16  # bytes before markers, which Pillow reads one by one
MAX_SCANS = 32  # of a progressive JPEG; each costs a pass over all of the image
MAX_IMAGES = 16  # of a multi-picture file
FRAME_HEADERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
JPEG_LS = 0xF7
LOSSLESS = (0xC3, 0xC7, 0xCB, 0xCF)
# In entropy-coded data FF is followed by 00 or a restart marker; any other marker ends the scan. A run of FF is looked at
# once, from its start: a hostile one would else cost its length squared. The first FF stands in front of the condition,
# since a search for a plain byte is eighty times as fast.
RUN = rb"\xff(?<!\xff\xff)\xff*+"
SCAN_END = re.compile(RUN + rb"[^\x00\xff\xd0-\xd7]")
# JPEG-LS stuffs a bit instead: whatever follows FF there and is below 80 is data (ISO 14495-1, A.1).
SCAN_END_LS = re.compile(RUN + rb"[\x80-\xcf\xd8-\xfe]")
FILL_BYTES = re.compile(rb"\xff++")


@dataclass(frozen=True)
class Frame:
    """What the frame header of a JPEG says; `process` is the marker's second byte. `scans` follow it."""

    width: int
    height: int
    channels: int
    precision: int
    process: int
    scans: int = 1

    @property
    def samples(self) -> int:
        """Samples that a decoder works on: each scan is a pass over all of the image."""
        return self.width * self.height * self.channels * self.scans


def check(data: bytes, limits: Limits) -> Frame:
    """Walk a JPEG file to its end, and the further images of a multi-picture file (CIPA DC-007) behind it.

    Raises:
        UnreadableImage: too much metadata, another file behind the image, or a broken structure.
    """
    frame, end, multiple = walk(data, 0, limits)
    end = behind_fill(data, end)
    for _ in range(MAX_IMAGES if multiple else 0):
        if not data.startswith(b"\xff\xd8\xff", end):
            break
        end = behind_fill(data, walk(data, end, limits)[1])
    if end < len(data):
        raise UnreadableImage("polyglot", f"{len(data) - end} bytes of something else lie behind the JPEG image")
    return frame


def walk(data: bytes, start: int, limits: Limits) -> tuple[Frame, int, bool]:
    """Walk one JPEG image from `start`.

    Returns:
        Its frame header, the place behind its end marker, and whether it announces further images.
    """
    position, metadata, fill, scans, multiple = start + 2, 0, 0, 0, False
    frame: Frame | None = None
    for _ in range(MAX_SEGMENTS):
        run = FILL_BYTES.match(data, position)
        length = (
            len(run[0]) - 1 if run else 0
        )  # of the fill bytes, of which a marker may have any number before it (B.1.1.2)
        position, fill = position + length, fill + length
        if fill > MAX_FILL:
            raise broken("JPEG", f"has more than {MAX_FILL} fill bytes between its segments")
        marker = data[position + 1 : position + 2]
        if data[position : position + 1] != b"\xff" or not marker:
            raise broken("JPEG", "ends early or has a gap")
        code = marker[0]
        if code == 0xD9:
            if frame is None or not scans:
                raise broken("JPEG", "holds no image")
            return replace(frame, scans=scans), position + 2, multiple
        length = int.from_bytes(data[position + 2 : position + 4], "big")
        if length < 2:
            raise broken("JPEG", "has a segment without a length")
        if code in FRAME_HEADERS or code == JPEG_LS:
            if frame:
                raise broken("JPEG", "has two frame headers")
            precision, height, width, channels = struct.unpack(
                ">BHHB", data[position + 4 : position + 10].ljust(6, b"\0")
            )
            frame = Frame(width, height, channels, precision, code)
        elif code >= 0xE0:
            metadata += length
            limits.check_metadata("JPEG", metadata)
            multiple |= code == 0xE2 and data.startswith(b"MPF\0", position + 4)
        position += 2 + length
        if code == 0xDA:
            scans += 1
            if scans > MAX_SCANS:
                raise broken("JPEG", f"has more than {MAX_SCANS} scans")
            ends = SCAN_END_LS if frame and frame.process == JPEG_LS else SCAN_END
            end = ends.search(data, position)
            if not end:
                raise broken("JPEG", "ends early")
            position = end.end() - 2
    raise broken("JPEG", f"has more than {MAX_SEGMENTS} segments")


def check_process(frame: Frame) -> None:
    """Refuse what a JPEG file outside DICOM may be and is not read, by its name."""
    if frame.process == JPEG_LS:
        raise UnreadableImage("unsupported_type", "the file is JPEG-LS, which is read inside DICOM alone")
    if frame.process in LOSSLESS:
        raise UnreadableImage("unsupported_type", "the file is a lossless JPEG, which is read inside DICOM alone")
    if frame.precision != 8:
        raise UnreadableImage(
            "unsupported_type", f"the JPEG has {frame.precision} bits a channel; 8 are read (16 in PNG, TIFF or DICOM)"
        )
