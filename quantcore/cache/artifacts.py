"""Artifacts by digest: in this data folder, and in the storage that several machines share."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from quantcore.cache import locks
from quantcore.cache.facts import Facts
from quantcore.cache.faults import explained, explained_if_full
from quantcore.cache.files import Files, file_digest
from quantcore.cache.remote import Remote
from quantcore.errors import DamagedArtifactError
from quantcore.schema import Artifact


class Artifacts:
    """Files that are added, leased and read by their digest.

    Where there is a storage, every file added is uploaded there, and a file that is not in the
    data folder is downloaded from there. Facts that promise a file go as soon as it is missed.
    """

    def __init__(
        self,
        root: Path,
        files: Files,
        facts: Facts,
        remote: Remote | None,
        evict: Callable[[], object],
    ) -> None:
        """Take the parts of one data folder; `evict` is called when a file was added."""
        self._root = root
        self._files = files
        self._facts = facts
        self._remote = remote
        self._evict = evict

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Store the file that `write` makes at the path it is given.

        Args:
            write: makes one file, any way it likes. What it leaves beside it is discarded.
            format: of the artifact returned: `torchscript`, `logits`, …

        Raises:
            StoreError: the disk is full or cannot be written to, or the storage does not take
                the file. Nothing half written remains.
        """
        with self.outbox() as folder:
            draft = folder / "artifact"
            write(draft)
            artifact = Artifact(file_digest(draft), draft.stat().st_size, format)
            with self._files.admitted(draft, artifact.sha256):
                self._evict()
                self.upload(artifact.sha256)
        return artifact

    @contextmanager
    def outbox(self) -> Iterator[Path]:
        """Yield an empty folder for files on their way here; what is left in it is removed.

        Raises:
            StoreError: the disk is full or cannot be written to, also where a child met that.
        """
        with (
            explained(self._root),
            self._files.workspace() as folder,
            explained_if_full(self._root),
        ):
            yield folder

    def path(self, sha256: str) -> Path:
        """Return an artifact's path, its bytes unchecked. Hold `using` to keep the file.

        Raises:
            DamagedArtifactError: it is not there. Facts that promised it are deleted now as well.
            StoreError: the storage that may have it does not answer.
        """
        if self._files.exists(sha256):
            return self._files.location(sha256)
        with self.using(sha256) as (path,):
            return path

    def checked_path(self, sha256: str) -> Path:
        """Return an artifact's path, having read its bytes again. Hold `using` to keep the file.

        Raises:
            DamagedArtifactError: it is not there, or its bytes changed: then it was moved to
                `quarantine/`, and every fact that refers to it is deleted.
        """
        with self.using(sha256) as (path,), explained(self._root):
            if file_digest(path) == sha256:
                return path
            self.quarantine_if_damaged(sha256)
        raise DamagedArtifactError(
            f"The cached file {sha256[:12]} was damaged and has been moved to quarantine/.",
            "Ask again: it is made anew.",
        )

    @contextmanager
    def using(self, *sha256s: str) -> Iterator[tuple[Path, ...]]:
        """Lease artifacts, so that no process removes them, and yield their paths.

        The kernel ends the lease if this process dies. Forked children do not inherit it.

        Raises:
            DamagedArtifactError: one is not there. Facts that promised it are deleted now as well.
            StoreError: the storage that may have it does not answer.
        """
        with ExitStack() as leases:
            paths = tuple(self._lease(sha256, leases) for sha256 in sha256s)
            yield paths

    def upload(self, *sha256s: str) -> None:
        """Upload files to the storage, if there is one, except those that are not here.

        Raises:
            StoreError: the storage does not answer, or does not take a file.
        """
        if self._remote is None:
            return
        with explained(self._root):
            for sha256 in sha256s:
                with suppress(FileNotFoundError), self._files.in_use(sha256) as path:
                    self._remote.upload(path, sha256)

    def quarantine_if_damaged(self, sha256: str) -> bool:
        """Move a file whose bytes changed aside, delete its facts, and return whether it was."""
        return self._files.set_aside_if_damaged(
            sha256, lambda: self._facts.delete_of([sha256], self._files.exists, keep_lasting=False)
        )

    def _lease(self, sha256: str, leases: ExitStack) -> Path:
        with explained(self._root):
            with suppress(FileNotFoundError):
                return leases.enter_context(self._files.in_use(sha256))
            if self._remote is None:
                raise self._missing(sha256)
            return self._download(self._remote, sha256, leases)

    def _download(self, remote: Remote, sha256: str, leases: ExitStack) -> Path:
        """Admit a file that another machine uploaded to the storage, and lease it."""
        with (
            locks.exclusive(self._files.turn(f"fetch {sha256}")),
            self._files.workspace() as folder,
        ):
            with suppress(FileNotFoundError):
                # Whoever had the turn before may have downloaded it.
                return leases.enter_context(self._files.in_use(sha256))
            draft = folder / "artifact"
            if not remote.download(sha256, draft):
                raise self._missing(sha256)
            if file_digest(draft) != sha256:
                self._facts.delete_of([sha256], self._files.exists)
                raise remote.damaged(sha256)
            leases.enter_context(self._files.admitted(draft, sha256))
            self._evict()
        return self._files.location(sha256)

    def _missing(self, sha256: str) -> DamagedArtifactError:
        self._facts.delete_of([sha256], self._files.exists)
        return DamagedArtifactError(
            f"The file {sha256[:12]} is no longer in the cache.", "Ask again: it is made anew."
        )
