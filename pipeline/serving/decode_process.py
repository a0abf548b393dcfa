"""The process that decodes what no header bounds: warm, and forked anew for each upload, so that one can be ended alone.

`python -m pipeline.serving.decode_process FD` reads sockets from the Unix socket FD. Each brings one upload and takes its
answer. The fork that works on it has limits of its own for CPU, memory and time, and the kernel ends it when it passes
one; the socket then closes without an answer. What it held is given back with its end. Linux alone.

Both ways a message is a line of JSON and then bytes: no object of a process that has met hostile bytes is unpickled.
"""

import gc
import io
import json
import os
import resource
import signal
import socket
import sys
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.uid import JPEG2000Lossless, JPEGBaseline8Bit, JPEGLSLossless, RLELossless

from pipeline.data import imaging
from pipeline.decoding import dicom_codestream
from pipeline.decoding.errors import UnreadableImage
from pipeline.decoding.limits import MEGABYTE, TRUSTED, Limits
from pipeline.serving.preview import preview

Facts = dict[str, Any]
ENDED = 1  # exit status of a fork that could not answer


def main() -> None:
    """Fork for every socket that arrives, until the worker closes its end."""
    control = socket.socket(fileno=int(sys.argv[1]))
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel buries the forks
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the worker, which closes the socket
    _warm_up()
    while True:
        message, (*descriptors,), _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        if os.fork() == 0:
            control.close()
            _work(socket.socket(fileno=descriptors[0]))
        os.close(descriptors[0])


def _warm_up() -> None:
    """Load what the first upload would wait for, and keep the collector from copying it in every fork."""
    Image.init()
    for syntax in (JPEGBaseline8Bit, JPEGLSLossless, JPEG2000Lossless, RLELossless):
        dicom_codestream.check_syntax(syntax)  # imports its decoder
    for data in (_small_dicom(), _small_tiff()):
        imaging.read_upload(data, 8, TRUSTED)
    gc.freeze()


def _small_dicom() -> bytes:
    dicom = Dataset()
    dicom.Modality, dicom.PhotometricInterpretation, dicom.SamplesPerPixel = "DX", "MONOCHROME2", 1
    dicom.Rows, dicom.Columns, dicom.PixelRepresentation = 8, 8, 0
    dicom.BitsAllocated, dicom.BitsStored, dicom.HighBit = 16, 12, 11
    dicom.WindowCenter, dicom.WindowWidth = 2000, 4000
    dicom.PixelData = (64 * np.arange(64, dtype=np.uint16)).tobytes()
    stream = io.BytesIO()
    dicom.save_as(stream, implicit_vr=False, little_endian=True)
    return stream.getvalue()


def _small_tiff() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8)).save(stream, "TIFF", compression="tiff_adobe_deflate")
    return stream.getvalue()


def _work(upload: socket.socket) -> None:
    """Answer one upload and end, whatever happens."""
    status = ENDED
    try:
        with upload, upload.makefile("rb") as stream:
            facts, content = answer(*_received(stream))
            upload.sendall(json.dumps({**facts, "size": len(content)}).encode() + b"\n" + content)
        status = 0
    finally:
        os._exit(status)


def _received(stream: BinaryIO) -> tuple[Facts, bytes]:
    task = json.loads(stream.readline())
    _limit(task["seconds"], task["megabytes"], task["patience"])
    return task, stream.read(task["size"])


def _limit(seconds: int, megabytes: int, patience: int) -> None:
    """Of this process alone: seconds of CPU, address space beyond what is there already, seconds of time; no file, no core."""
    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    space = held + megabytes * MEGABYTE
    for kind, limit in (
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_AS, space),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    signal.alarm(patience)


def answer(task: Facts, data: bytes) -> tuple[Facts, bytes]:
    """Read an upload, or show it: `warnings` and the pixels or the PNG, or why it is refused."""
    limits = Limits(**task["limits"])
    try:
        if task["side"] is None:
            return {"warnings": []}, preview(data, limits)
        image = imaging.read_upload(data, task["side"], limits)
    except UnreadableImage as refusal:
        return {"error": refusal.error, "detail": refusal.detail, "facts": refusal.facts}, b""
    except MemoryError:
        return {"error": "too_costly"}, b""
    return {"warnings": image.warnings}, image.pixels.tobytes()


if __name__ == "__main__":
    main()
