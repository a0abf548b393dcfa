"""A multipart body, read while it streams: the one file in the field `image`, and nothing else kept."""

import logging

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from pipeline.serving.problems import Problem

logging.getLogger("python_multipart").setLevel(logging.CRITICAL + 1)  # it quotes what it cannot parse

FIELD = b"image"
MAX_PARTS = 16


class ImageForm:
    """Takes the chunks of a `multipart/form-data` body and keeps the file of the field `image`."""

    def __init__(self, content_type: str) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data":
            raise Problem(415, "unsupported_type", "send multipart/form-data with one file in the field 'image'")
        if not options.get(b"boundary"):
            raise Problem(400, "malformed", "the multipart body has no boundary")
        self._parts = 0
        self._found = 0
        self._ended = False
        self._wanted = False
        self._header = b""
        self._value = b""
        self._disposition = b""
        self._content = bytearray()  # one block, which goes back to the system; chunks would leave holes
        try:
            self._parser = MultipartParser(
                options[b"boundary"],
                {
                    "on_part_begin": self._begin_part,
                    "on_header_field": self._add_header,
                    "on_header_value": self._add_value,
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._add_data,
                    "on_end": self._end,
                },
            )
        except FormParserError:
            raise Problem(400, "malformed", "the boundary of the multipart body is no boundary") from None

    def feed(self, chunk: bytes) -> None:
        """Read the next piece of the body."""
        try:
            self._parser.write(chunk)
        except FormParserError:
            raise Problem(400, "malformed", "the multipart body cannot be parsed") from None

    def image(self) -> bytes:
        """The file, once the body has ended."""
        if not self._ended:
            raise Problem(400, "malformed", "the multipart body ends before its last boundary")
        if self._found != 1:
            raise Problem(400, "malformed", f"{self._found} files in the field 'image'; exactly one is expected")
        return bytes(self._content)

    def drop(self) -> None:
        """Let go of the file: parser and form hold each other, and would hold it until the collector comes."""
        self._content = bytearray()

    def _begin_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_PARTS:
            raise Problem(400, "malformed", f"more than {MAX_PARTS} parts in the multipart body")
        self._disposition = b""

    def _add_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = self._value
        self._header = self._value = b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        # A field without a file name is text: BentoML would take it for an address and fetch it.
        self._wanted = options.get(b"name") == FIELD and b"filename" in options
        self._found += self._wanted

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._wanted:
            self._content += memoryview(data)[start:end]

    def _end(self) -> None:
        self._ended = True
