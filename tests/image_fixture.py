"""Images and DICOM files made for tests, good ones and hostile ones."""

import io
import struct
import zipfile
import zlib
from typing import Any

import numpy as np
import pydicom
from PIL import Image
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRLittleEndian, JPEG2000Lossless, JPEGBaseline8Bit

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def scene(height: int = 200, width: int = 260, seed: int = 0) -> np.ndarray:
    """A smooth grey image with a little noise, uint8 [height, width]."""
    rows, columns = np.mgrid[0:height, 0:width]
    light = 120 + 90 * np.sin(columns / 40) * np.cos(rows / 60)
    return np.random.default_rng(seed).normal(light, 4).clip(0, 255).astype(np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str = "JPEG", **options: Any) -> bytes:
    """The bytes of an image file."""
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


def chest_dicom(
    pixels: np.ndarray | None = None, syntax: str = ExplicitVRLittleEndian, stream: bytes | None = None, **tags: Any
) -> bytes:
    """A DICOM chest radiograph of a child of three; `tags` overrides, None removes. `stream` is a compressed image."""
    pixels = scene(80, 100) if pixels is None else pixels
    data = pydicom.Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.1"
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.826.0.1.3680043.8.498.1"
    data.PatientName, data.PatientAge = "Secret^Name", "003Y"
    data.Modality, data.BodyPartExamined, data.ViewPosition = "CR", "CHEST", "AP"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.Rows, data.Columns = pixels.shape[-2:]
    bits = pixels.dtype.itemsize * 8
    data.BitsAllocated, data.BitsStored, data.HighBit = bits, bits, bits - 1
    data.PixelRepresentation = int(pixels.dtype.kind == "i")
    if stream is None and syntax != JPEG2000Lossless:
        data.PixelData = pixels.tobytes()
    elif stream is not None:
        data.PixelData = encapsulate([stream])
    else:
        data.compress(JPEG2000Lossless, pixels)
    for key, value in tags.items():
        if value is None:
            delattr(data, key)
        else:
            setattr(data, key, value)
    target = io.BytesIO()
    data.save_as(target, enforce_file_format=True)
    return target.getvalue()


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(
    width: int,
    height: int,
    *extra: bytes,
    colour: int = 0,
    depth: int = 8,
    interlaced: int = 0,
    content: bytes | None = None,
) -> bytes:
    """A PNG by hand: header, extra chunks, pixel data (zeros unless given), end."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    content = zlib.compress(bytes(height * (1 + width * depth // 8)), 9) if content is None else content
    return PNG_SIGNATURE + _chunk(b"IHDR", header) + b"".join(extra) + _chunk(b"IDAT", content) + _chunk(b"IEND", b"")


def _archive() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "hidden")
    return stream.getvalue()


def _tiff(entries: list[tuple[int, int, int, int]], tail: bytes = b"", following: int = 0) -> bytes:
    body = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + body + struct.pack("<I", following) + tail


def _tiff_of(width: int, height: int, *more: tuple[int, int, int, int], tail: bytes = b"", following: int = 0) -> bytes:
    plain = [
        (256, 4, 1, width),
        (257, 4, 1, height),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (279, 4, 1, 64),
    ]
    return _tiff(sorted([*plain, *more]), tail, following)


def _endless_header() -> bytes:
    element = struct.pack("<HH2sH", 0x0009, 0x0010, b"LO", 4) + b"abcd"
    good = chest_dicom()
    start = good.index(struct.pack("<HH", 0x0010, 0x0010))
    return good[:start] + element * 400_000 + good[start:]


def _nested_header() -> bytes:
    opening = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + b"\xfe\xff\x00\xe0\xff\xff\xff\xff"
    good = chest_dicom()
    start = good.index(struct.pack("<HH", 0x0010, 0x0010))
    return good[:start] + opening * 5_000 + good[start:]


def _deflated() -> bytes:
    packed = chest_dicom(syntax=DeflatedExplicitVRLittleEndian)
    start = packed.index(struct.pack("<HH2s", 0x0002, 0x0000, b"UL")) + 12
    start += struct.unpack_from("<I", packed, start - 4)[0]
    plain = zlib.decompress(packed[start:], -zlib.MAX_WBITS)
    return packed[:start] + zlib.compress(plain + bytes(200_000_000), 9)[2:-4]


def _elements(*elements: bytes) -> bytes:
    return b"".join(elements) + bytes(64)


def _multi_picture(frames: list[Image.Image]) -> bytes:
    return encoded(frames[0].convert("RGB"), "MPO", save_all=True, append_images=[frames[1].convert("RGB")])


def _big_tiff(strips: int) -> bytes:
    tags = [(256, 4, 1, 8), (257, 4, 1, 8), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 16, strips, 200)]
    body = b"".join(struct.pack("<HHQQ", *tag) for tag in tags)
    return b"II+\x00\x08\x00\x00\x00" + struct.pack("<QQ", 16, len(tags)) + body + bytes(300)


def hostile() -> dict[str, tuple[bytes, int]]:
    """Name -> file, and the status that answers it."""
    jpeg, tiff = encoded(scene()), encoded(scene(), "TIFF")
    page = b"<html><script>alert(1)</script></html>"
    comment = b"\xff\xfe" + struct.pack(">H", 60_002) + bytes(60_000)
    large = encoded(np.zeros((6000, 10_000), np.uint8))
    frames = [Image.fromarray(scene(40, 40, seed)) for seed in range(3)]
    nothing = zlib.compress(bytes(300_000_000), 9)
    return {
        "empty": (b"", 415),
        "text named .jpeg": (b"not an image at all\n" * 40, 415),
        "html": (page, 415),
        "svg": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415),
        "zip": (_archive(), 415),
        "gif": (encoded(frames[0], "GIF"), 415),
        "webp": (encoded(frames[0], "WEBP"), 415),
        "jpeg start only": (b"\xff\xd8\xff", 422),
        "jpeg of zeros": (b"\xff\xd8\xff" + bytes(500), 422),
        "jpeg cut": (jpeg[: len(jpeg) // 2], 422),
        "jpeg and zip": (jpeg + _archive(), 415),
        "jpeg and html": (jpeg + page, 415),
        "jpeg with zip inside": (
            jpeg[:2] + b"\xff\xfe" + struct.pack(">H", len(_archive()) + 2) + _archive() + jpeg[2:],
            415,
        ),
        "jpeg and pdf": (jpeg[:2] + b"\xff\xfe\x00\x0a%PDF-1.4" + jpeg[2:], 415),
        "jpeg with a gigantic header": (jpeg[:2] + comment * 150 + jpeg[2:], 413),
        "jpeg of 60 megapixels": (large, 413),
        "png cut": (encoded(scene(), "PNG")[:-300], 422),
        "png with half its rows": (png(4000, 4000, content=zlib.compress(bytes(4001 * 2000), 9)), 422),
        "png of 18 megapixels, wrong to the end": (
            png(4000, 4500, colour=2, content=zlib.compress(bytes(12_001 * 4499), 9)),
            422,
        ),
        "png with a broken sum": (encoded(scene(), "PNG").replace(b"IDAT", b"IDAT\x00", 1)[:-1], 422),
        "png and html": (encoded(scene(), "PNG") + page, 415),
        "png bomb": (png(30_000, 30_000, depth=1), 413),
        "png that claims a billion pixels": (png(60_000, 60_000, content=b"x"), 413),
        "png with a compressed text bomb": (png(8, 8, _chunk(b"zTXt", b"a\0\0" + nothing)), 422),
        "png with a profile bomb": (png(8, 8, _chunk(b"iCCP", b"a\0\0" + nothing)), 422),
        "png with a gigantic header": (png(8, 8, _chunk(b"tEXt", b"a\0" + bytes(9_000_000))), 413),
        "png of many chunks": (png(8, 8, _chunk(b"teSt", b"") * 30_000), 422),
        "animated png": (encoded(frames[0], "PNG", save_all=True, append_images=frames[1:]), 413),
        "tiff cut": (tiff[: len(tiff) // 2], 422),
        "tiff of three pages": (encoded(frames[0], "TIFF", save_all=True, append_images=frames[1:]), 413),
        "tiff that goes in a circle": (_tiff_of(8, 8, tail=bytes(64), following=8), 413),
        "tiff with gigantic tiles": (_tiff_of(8, 8, (322, 4, 1, 60_000), (323, 4, 1, 60_000), tail=bytes(64)), 413),
        "tiff with a gigantic tag": (_tiff_of(8, 8, (700, 7, 9_000_000, 8), tail=bytes(9_000_100)), 413),
        "tiff of many pixels": (_tiff_of(100_000, 100_000, tail=bytes(64)), 413),
        "big tiff of nothing": (b"II+\x00\x08\x00\x00\x00" + bytes(100), 422),
        "big tiff of many strips": (_big_tiff(strips=200_000) + bytes(1_600_000), 413),
        "big tiff of more strips than bytes": (_big_tiff(strips=10_000_000), 422),
        "two jpegs": (jpeg + jpeg, 415),
        "jpeg and a file behind white space": (jpeg + b"\n\n" + page, 415),
        "multi-picture jpeg and html": (_multi_picture(frames) + page, 415),
        "png and png": (encoded(scene(), "PNG") * 2, 415),
        "dicom data set of a photo": (_elements(b"\x08\x00\x60\x00CS\x02\x00XC"), 415),
        "html named .dcm": (page * 10, 415),
        "dicom and program": (b"MZ" + chest_dicom()[2:], 415),
        "dicom cut": (chest_dicom()[:-4000], 422),
        "dicom without pixels": (chest_dicom(PixelData=None), 422),
        "dicom of a CT": (chest_dicom(Modality="CT"), 415),
        "dicom without a modality": (chest_dicom(Modality=None), 415),
        "dicom in colour": (chest_dicom(SamplesPerPixel=3, PhotometricInterpretation="RGB"), 415),
        "dicom of two frames": (chest_dicom(NumberOfFrames=2), 413),
        "dicom of many pixels": (chest_dicom(Rows=60_000, Columns=60_000), 413),
        "dicom with an endless header": (_endless_header(), 413),
        "dicom with a nested header": (_nested_header(), 422),
        "dicom deflated, a bomb": (_deflated(), 413),
        "dicom, jpeg of another size": (chest_dicom(scene(80, 100), JPEGBaseline8Bit, stream=large), 422),
        "dicom, jpeg 2000 of another size": (
            chest_dicom(scene(80, 100), JPEG2000Lossless, stream=_jpeg2000_bomb()),
            422,
        ),
        "dicom, rubbish for a jpeg": (chest_dicom(scene(80, 100), JPEGBaseline8Bit, stream=bytes(500)), 422),
    }


def _jpeg2000_bomb() -> bytes:
    good = pydicom.dcmread(io.BytesIO(chest_dicom(scene(80, 100), JPEG2000Lossless)))
    stream = next(pydicom.encaps.generate_frames(good.PixelData, number_of_frames=1))
    return stream[:8] + struct.pack(">2I", 60_000, 60_000) + stream[16:]
