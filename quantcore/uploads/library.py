"""The folder of uploads: received in pieces, read by token, removed with all that is in it."""

import hashlib
import re
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

from quantcore.errors import RequestError, StoreError
from quantcore.sandbox import Call, discard
from quantcore.settings import Settings
from quantcore.uploads.records import PREFIX, Upload, UploadedImages, UploadedModel

RECORD = "record.json"
CONTENT = "content"
TOKEN_BYTES = 24
LONGEST_FILENAME = 120
DAY_S = 86_400.0
_TOKEN = re.compile(r"[A-Za-z0-9_-]{32}")


def is_named(name: str | None) -> bool:
    """Return whether a name of a model or of pictures is that of an upload."""
    return name is not None and name.startswith(PREFIX)


def token_of(name: str) -> str:
    """Return the token in `upload/TOKEN`.

    Raises:
        RequestError: it names no upload.
    """
    token = name.removeprefix(PREFIX)
    if not is_named(name) or not _TOKEN.fullmatch(token):
        raise RequestError(f"{name!r} does not name an upload.", "Upload the file again.")
    return token


# The folder of this process's uploads, as `use` set it.
_folder: Path | None = None


def use(data: Path | str) -> None:
    """Let `find`, `folder` and `is_kept` look into this data folder, in all of this process."""
    global _folder  # noqa: PLW0603
    _folder = uploads_folder(Path(data))


def use_call(data: Path) -> Call:
    """Return the call by which the children of a process pool use this data folder as well."""
    return "quantcore.uploads:use", str(data)


def uploads_folder(data: Path) -> Path:
    """Return the folder of a data folder's uploads."""
    return data / "uploads"


def folder(name: str) -> Path:
    """Return the folder with the files of `upload/TOKEN`.

    Raises:
        RequestError: it names no upload.
    """
    token = token_of(name)
    if _folder is None:
        raise RuntimeError("This process looks for an upload before `uploads.use` was called.")
    return _folder / token


def is_kept(name: str) -> bool:
    """Return whether the files of `upload/TOKEN` are there, expired or not.

    Raises:
        RequestError: it names no upload.
    """
    return folder(name).is_dir()


def find(name: str) -> Upload:
    """Return the record of `upload/TOKEN`, whoever's it is: the token is the key.

    Raises:
        RequestError: it is gone: deleted, or it expired.
    """
    upload = _read(folder(name))
    if upload is None or upload.expires_s < time.time():
        raise RequestError(
            "This upload is no longer here: it was deleted, or it expired.",
            "Upload the file again.",
        )
    return upload


class Uploads:
    """The uploads of one data folder."""

    def __init__(self, settings: Settings) -> None:
        self._root = uploads_folder(settings.data)
        self._settings = settings

    def receive(self, filename: str, chunks: Iterable[bytes], owner: str = "") -> Upload:
        """Write a file in pieces, under a new token; it is not inspected yet.

        Raises:
            RequestError: it is empty or larger than an upload may be, or there is no room for it.
            StoreError: the disk is full or cannot be written to. Nothing is left behind.
        """
        self._require_room()
        token = secrets.token_urlsafe(TOKEN_BYTES)
        folder = self._root / token
        try:
            folder.mkdir(mode=0o700, parents=True)
            size_bytes, content = _write(folder / CONTENT, chunks, self._max_bytes)
            now = time.time()
            record = Upload(
                token=token,
                owner=owner,
                filename=_harmless(filename),
                size_bytes=size_bytes,
                created_s=now,
                expires_s=now + self._settings.upload_days * DAY_S,
                content=content,
            )
            _save(folder, record)
        except OSError as error:
            _remove(folder)
            raise StoreError(
                f"The file could not be kept ({error.strerror}).",
                "Make room, then upload it again.",
            ) from error
        except BaseException:
            _remove(folder)
            raise
        return record

    def get(self, token: str, owner: str | None = None) -> Upload:
        """Return one upload; with an owner, only if it is theirs.

        Raises:
            RequestError: there is none such, or it is somebody else's: the two look alike.
        """
        token_of(PREFIX + token)
        upload = _read(self._root / token)
        is_theirs = upload is not None and owner in (None, upload.owner)
        if upload is None or not is_theirs or upload.expires_s < time.time():
            raise RequestError(
                "This upload is no longer here: it was deleted, or it expired.",
                "Upload the file again.",
            )
        return upload

    def of(self, owner: str) -> list[Upload]:
        """Return a visitor's uploads that were read and have not expired, the newest first."""
        now = time.time()
        mine = [
            upload
            for upload in self._all()
            if upload.owner == owner and upload.expires_s >= now and (upload.model or upload.images)
        ]
        return sorted(mine, key=lambda upload: -upload.created_s)

    def folder(self, token: str) -> Path:
        """Return the folder with an upload's files."""
        token_of(PREFIX + token)
        return self._root / token

    def content(self, token: str) -> Path:
        """Return the file as it was uploaded."""
        return self.folder(token) / CONTENT

    def describe(
        self,
        token: str,
        *,
        model: UploadedModel | None = None,
        images: UploadedImages | None = None,
    ) -> Upload:
        """Record what an upload holds, or what its owner changed; return its record."""
        folder = self.folder(token)
        record = replace(self.get(token), size_bytes=_bytes_in(folder))
        if model is not None:
            record = replace(record, model=model)
        if images is not None:
            record = replace(record, images=images)
        _save(folder, record)
        return record

    def delete(self, token: str) -> None:
        """Remove an upload's files. What it produced is for `Service` to remove."""
        _remove(self.folder(token))

    def expired(self) -> list[Upload]:
        """Return the uploads whose time is up."""
        now = time.time()
        return [upload for upload in self._all() if upload.expires_s < now]

    def remove_unfinished(self) -> None:
        """Remove what a process that was killed left of receiving a file: it has no record."""
        with suppress(FileNotFoundError):
            for folder in list(self._root.iterdir()):
                if _TOKEN.fullmatch(folder.name) and _is_forsaken(folder):
                    _remove(folder)

    def _require_room(self) -> None:
        """Refuse a file where all uploads together take as much as the cache may."""
        held_bytes = sum(upload.size_bytes for upload in self._all())
        if held_bytes >= self._settings.quota_gb * 1e9:
            raise RequestError(
                f"Uploads take {held_bytes / 1e9:,.1f} GB here, which is as much as they may.",
                "Delete some of yours, or come back when others' have expired.",
            )

    @property
    def _max_bytes(self) -> int:
        return int(self._settings.upload_mb * 1e6)

    def _all(self) -> list[Upload]:
        with suppress(FileNotFoundError):
            folders = [folder for folder in self._root.iterdir() if _TOKEN.fullmatch(folder.name)]
            return [upload for each in folders if (upload := _read(each)) is not None]
        return []


def _is_forsaken(folder: Path) -> bool:
    """Return whether a folder has no record, and nobody wrote in it for a day."""
    try:
        times = [each.stat().st_mtime for each in (folder, *folder.iterdir())]
        return not (folder / RECORD).exists() and max(times) < time.time() - DAY_S
    # Another process removed it at this moment.
    except OSError:
        return False


def _remove(folder: Path) -> None:
    # Another process may be removing it at this moment.
    with suppress(OSError):
        discard(folder)


def _harmless(filename: str) -> str:
    """Return a name for showing: no folder, no control characters, not long."""
    last = filename.replace("\\", "/").rpartition("/")[2]
    shown = "".join(each for each in last if each.isprintable())
    return shown[-LONGEST_FILENAME:] or "file"


def _write(path: Path, chunks: Iterable[bytes], max_bytes: int) -> tuple[int, str]:
    """Write a file in pieces; return its size in bytes and its SHA-256."""
    size_bytes, total = 0, hashlib.sha256()
    with path.open("xb") as file:
        for chunk in chunks:
            size_bytes += len(chunk)
            if size_bytes > max_bytes:
                raise RequestError(
                    f"This file is larger than {max_bytes / 1e6:,.0f} MB, the most an upload "
                    "may be.",
                    "Upload a smaller one: weights in half precision are half as large.",
                )
            file.write(chunk)
            total.update(chunk)
    if not size_bytes:
        raise RequestError("This file is empty: it has 0 bytes.", "Upload another file.")
    return size_bytes, total.hexdigest()


def _save(folder: Path, record: Upload) -> None:
    draft = folder / f"{RECORD}.{secrets.token_hex(4)}"
    draft.write_bytes(record.to_json())
    draft.replace(folder / RECORD)


def _bytes_in(folder: Path) -> int:
    return sum(each.stat().st_size for each in folder.rglob("*") if each.is_file())


def _read(folder: Path) -> Upload | None:
    path = folder / RECORD
    try:
        return _parsed(path, path.stat().st_mtime_ns)
    except (OSError, ValueError):
        return None


@lru_cache(maxsize=256)
def _parsed(path: Path, _modified_ns: int) -> Upload:
    return Upload.from_json(path.read_bytes())
