"""Where files travel between machines that share no folder: by digest, through fsspec.

Each file lies there under the SHA-256 of its bytes, so it never changes, two machines that upload
the same one do no harm, and whoever downloads it can tell whether it is whole.
"""

import errno
import re
import uuid
from collections.abc import Container, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from quantcore.errors import DamagedArtifactError, StoreError

# By default, a storage that does not answer is waited for many times a minute each.
_PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 2}}
_OPTIONS: dict[str, dict[str, Any]] = {
    # What was listed a while ago tells nothing about what another machine uploaded since.
    "s3": {"config_kwargs": _PATIENCE, "use_listings_cache": False},
}


class Remote:
    """The files at one address: `s3://bucket/folder`, `file:///mnt/share`, what fsspec knows."""

    def __init__(self, address: str) -> None:
        """Keep the address; no connection is made before the first file."""
        self._address = address
        # As a sentence may show it: without a user's name and password.
        self._name = re.sub(r"//[^/@]*@", "//", address)

    def upload(self, path: Path, sha256: str) -> None:
        """Upload a file, unless it is there.

        Raises:
            StoreError: the storage does not answer, or does not take it.
        """
        with self._explained():
            files, target = self._file(sha256)
            if _size(files, target) == path.stat().st_size:
                return
            if "file" in files.protocol:
                # A folder shows a file while it is written, other storage only when it is whole.
                draft = f"{target}.{uuid.uuid4().hex[:8]}.part"
                files.put_file(str(path), draft)
                files.mv(draft, target)
            else:
                files.put_file(str(path), target)

    def download(self, sha256: str, path: Path) -> bool:
        """Download a file, unchecked; return whether there was one.

        Raises:
            StoreError: the storage does not answer.
            OSError: the disk under `path` is full.
        """
        with self._explained(but=(errno.ENOSPC, errno.EDQUOT)):
            files, source = self._file(sha256)
            try:
                files.get_file(source, str(path))
            except FileNotFoundError:
                return False
        return True

    def remove(self, sha256: str) -> None:
        """Remove a file, if it is there.

        Raises:
            StoreError: the storage does not answer, or does not allow it.
        """
        with self._explained():
            files, target = self._file(sha256)
            with suppress(FileNotFoundError):
                files.rm_file(target)

    def damaged(self, sha256: str) -> DamagedArtifactError:
        """Remove a damaged file, where that is allowed, and return the error that says so."""
        # While it is there, `upload` would take it for the whole one.
        with suppress(StoreError), self._explained():
            files, target = self._file(sha256)
            files.rm_file(target)
        return DamagedArtifactError(
            f"The file {sha256[:12]} in {self._name} (QUANTCORE_ARTIFACTS) was damaged.",
            "Ask again: it is made anew.",
        )

    def _file(self, sha256: str) -> tuple[Any, str]:
        """Return the file system and a file's path in it.

        Looked up each time: fsspec keeps one for every process and thread, and one that was
        made before a fork must not be used after it.
        """
        from fsspec.core import split_protocol, url_to_fs

        protocol = split_protocol(self._address)[0] or "file"
        files, folder = url_to_fs(self._address, **_OPTIONS.get(protocol, {}))
        return files, f"{folder.rstrip('/')}/{sha256}"

    @contextmanager
    def _explained(self, but: Container[int | None] = ()) -> Iterator[None]:
        try:
            yield
        # Each kind of storage complains in exceptions of its own library.
        except Exception as error:
            if isinstance(error, OSError) and error.errno in but:
                raise
            details = str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__
            raise StoreError(
                f"The storage {self._name} (QUANTCORE_ARTIFACTS) cannot be used: {details}.",
                "Check its address, the network and the credentials there, and try again.",
            ) from error


def _size(files: Any, path: str) -> int | None:
    try:
        return int(files.info(path)["size"])
    except FileNotFoundError:
        return None
