"""The one way from the bytes of a file to a grey image, for training, evaluation and serving alike."""

from dataclasses import dataclass

from PIL import Image

from pipeline.decoding import jpeg_structure, png_structure, raster, tiff, tiff_structure
from pipeline.decoding.errors import Unbounded, UnreadableImage
from pipeline.decoding.limits import TRUSTED, Limits
from pipeline.decoding.signatures import check_alone, sniff

NO_MEMORY = "decoder error -9"  # what Pillow says where a decoder in C got none


@dataclass(frozen=True)
class Decoded:
    """One 8-bit channel in its own proportions, upright, and what should be said about where it comes from."""

    image: Image.Image
    warnings: list[str]


def decode(data: bytes, side: int | None = None, limits: Limits | None = None) -> Decoded:
    """Decode a JPEG, PNG, TIFF or DICOM file.

    Args:
        data: the file.
        side: where a square of so many pixels is wanted at last, a large JPEG is decoded smaller, at least twice that.
        limits: of a file that may be hostile: its structure is then checked to its end before it is decoded.

    Raises:
        UnreadableImage: a type that is not read, more than the limits allow, or broken.
    """
    kind = sniff(data)
    if limits:
        check_alone(kind, data)
    try:
        if kind == "JPEG":
            return _jpeg(data, side, limits)
        if kind == "PNG":
            return _png(data, limits)
        if limits:
            limits.check_samples(kind, None)
        if kind == "TIFF":
            return Decoded(*tiff.read_tiff(data, tiff_structure.check(data, limits or TRUSTED)))
        return _dicom(data, limits or TRUSTED)
    except (UnreadableImage, Unbounded):
        raise
    except MemoryError:
        raise _too_costly(kind) from None
    except Exception as error:  # noqa: BLE001 - Pillow's decoders raise many kinds, struct.error and SyntaxError among them
        if str(error) == NO_MEMORY:
            raise _too_costly(kind) from None
        raise UnreadableImage("undecodable", f"the {kind} file cannot be decoded to its end") from None


def _too_costly(kind: str) -> UnreadableImage:
    return UnreadableImage("too_costly", f"the {kind} file needs more memory than there is")


def _jpeg(data: bytes, side: int | None, limits: Limits | None) -> Decoded:
    if limits:
        frame = jpeg_structure.check(data, limits)
        limits.check_pixels(frame.width, frame.height)
        jpeg_structure.check_process(frame)
        limits.check_samples("JPEG", frame.samples)
    return Decoded(raster.read_jpeg(data, side), [])


def _png(data: bytes, limits: Limits | None) -> Decoded:
    header = png_structure.check(data, limits) if limits else png_structure.read_header(data)
    if limits:
        limits.check_pixels(header.width, header.height)
        limits.check_samples("PNG", header.samples)
        png_structure.check_rows(data, header)
    return Decoded(*raster.read_png(data, header))


def _dicom(data: bytes, limits: Limits) -> Decoded:
    from pipeline.decoding import dicom  # nearly a second, which the server's parent process need not spend

    grey, warnings = dicom.read(data, limits)
    return Decoded(Image.fromarray(grey), warnings)
