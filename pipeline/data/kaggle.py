"""The data set from Kaggle: no account, resumed where it broke off."""

import logging
import os
import tarfile
import zipfile
import zlib
from pathlib import Path

import requests

from pipeline.errors import ProjectError

log = logging.getLogger(__name__)

OWNER, NAME, VERSION = "paultimothymooney", "chest-xray-pneumonia", 2
MAX_BYTES, MAX_MEMBERS = 8 * 2**30, 100_000  # the published archive: 2.5 GB in 17,600 files, each image twice or thrice
OTHERWISE = (
    "connect to the network and run again (what has arrived is kept), or give a copy of the data set: "
    "`make repro SOURCE=<folder>`, or generate images: `ingest.dataset: phantom` in params.yaml"
)


def download(cache: Path) -> Path:
    """The unpacked archive, read-only for the caller, downloaded to `cache` unless it is there already.

    kagglehub keeps the part that has arrived and asks for the rest. Its marker file says that all is there.

    Raises:
        ProjectError: Kaggle cannot be reached, refuses, or sends a broken archive twice.
    """
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    import kagglehub  # after the variable, and only where it is used
    from kagglehub import http_resolver
    from kagglehub.exceptions import DataCorruptionError

    http_resolver._extract_archive = _unpack  # its own knows no bound

    archive = cache / "datasets" / OWNER / NAME / f"{VERSION}.archive"
    spoilt = False
    while True:
        arrived = _size(archive)
        try:
            return Path(kagglehub.dataset_download(f"{OWNER}/{NAME}/versions/{VERSION}"))
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else "an error"
            raise ProjectError(f"Kaggle answers {status} for {OWNER}/{NAME}; {OTHERWISE}") from None
        except requests.RequestException as error:
            if _size(archive) <= arrived:
                raise ProjectError(f"cannot reach Kaggle ({type(error).__name__}); {OTHERWISE}") from None
            log.warning("the download broke off after %.1f MB; going on from there", _size(archive) / 1e6)
        except (DataCorruptionError, zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, ValueError):
            archive.unlink(missing_ok=True)  # else kagglehub takes it for complete for ever
            if spoilt:
                raise ProjectError(f"Kaggle's archive of {OWNER}/{NAME} is broken; {OTHERWISE}") from None
            log.warning("the archive is broken; downloading it again")
            spoilt = True


def _unpack(archive_path: str, out_path: str) -> None:
    """Unpack a zip archive: no more than the data set can have, and nothing outside `out_path`.

    `zipfile` takes `..` and leading slashes out of the names of members, writes links as files with their target's name, and
    reads no more of a member than its header says.

    Raises:
        BadZipFile: it is no zip archive.
        ProjectError: it would unpack to more than `MAX_BYTES`, or to more than `MAX_MEMBERS` files.
    """
    with zipfile.ZipFile(archive_path) as archive:
        members = archive.infolist()
        size = sum(member.file_size for member in members)
        if size > MAX_BYTES or len(members) > MAX_MEMBERS:
            raise ProjectError(
                f"Kaggle's archive of {OWNER}/{NAME} would unpack to {len(members)} files of {size} bytes; at most "
                f"{MAX_MEMBERS} of {MAX_BYTES} are unpacked; {OTHERWISE}"
            )
        archive.extractall(out_path)


def _size(archive: Path) -> int:
    return archive.stat().st_size if archive.exists() else 0
