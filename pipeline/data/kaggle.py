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
OTHERWISE = (
    "connect to the network and run again (what has arrived is kept), or give a copy of the data set: "
    "`make repro SOURCE=<folder>`, or generate pictures: `ingest.dataset: phantom` in params.yaml"
)


def download(cache: Path) -> Path:
    """The unpacked archive, read-only for the caller, downloaded to `cache` unless it is there already.

    kagglehub keeps the part that has arrived and asks for the rest; it unpacks with `zipfile`, which takes `..` and
    leading slashes out of member names, so that nothing lands outside. Its marker file says that all is there.

    Raises:
        ProjectError: Kaggle cannot be reached, refuses, or sends a broken archive twice.
    """
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    import kagglehub  # after the variable, and only where it is used
    from kagglehub.exceptions import DataCorruptionError

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


def _size(archive: Path) -> int:
    return archive.stat().st_size if archive.exists() else 0
