"""What one file may cost, checked from its headers before anything is decoded."""

from dataclasses import dataclass

from pipeline.decoding.errors import Unbounded, UnreadableImage

MEGABYTE = 2**20


@dataclass(frozen=True)
class Limits:
    """Of one file: pixels, frames, and bytes of all that is not the image (tags, profiles, overlay planes).

    `max_samples`: samples that may be unpacked here, every pass over the image counted; None bounds nothing.
    """

    max_pixels: int
    max_frames: int = 1
    max_metadata: int = 8 * MEGABYTE
    max_samples: int | None = None

    @property
    def max_file(self) -> int:
        """Bytes of the largest image that `max_pixels` allows at 16 bits, uncompressed, with all its metadata."""
        return 2 * self.max_pixels + self.max_metadata

    def check_pixels(self, width: int, height: int, pixels: int | None = None) -> None:
        """Refuse an image of more than `max_pixels`; `pixels`, where a decoder works on more than are shown."""
        pixels = width * height if pixels is None else pixels
        if pixels > self.max_pixels:
            raise UnreadableImage(
                "too_many_pixels",
                f"{width} x {height} image: {pixels} pixels; at most {self.max_pixels} are read (max_pixels)",
                pixels=pixels,
                limit=self.max_pixels,
            )

    def check_samples(self, kind: str, samples: int | None) -> None:
        """Refuse to unpack more than `max_samples` here; None: the headers of this kind do not bound what it costs.

        Raises:
            Unbounded: whoever can end the work may decode the file.
        """
        if self.max_samples is not None and (samples is None or samples > self.max_samples):
            raise Unbounded(f"the {kind} file may cost more than its headers bound")

    def check_frames(self, kind: str, frames: int) -> None:
        """Refuse a file of more than `max_frames`."""
        if frames > self.max_frames:
            raise UnreadableImage(
                "too_many_frames",
                f"the {kind} file has {frames} frames or more; at most {self.max_frames} are read (max_frames)",
                frames=frames,
                limit=self.max_frames,
            )

    def check_metadata(self, kind: str, size: int) -> None:
        """Refuse a file with more than `max_metadata` bytes beside its image."""
        if size > self.max_metadata:
            raise UnreadableImage(
                "too_much_metadata",
                f"the {kind} file has {size} bytes of metadata or more; at most {self.max_metadata} are read "
                "(max_metadata_megabytes)",
                bytes=size,
                limit=self.max_metadata,
            )


TRUSTED = Limits(max_pixels=200_000_000, max_frames=1, max_metadata=64 * MEGABYTE)  # for files of one's own
