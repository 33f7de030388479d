"""The store: files, facts about them, and the promise that the two always agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from copy import copy
from pathlib import Path
from types import TracebackType

from quantcore.cache import locks
from quantcore.cache.database import Database
from quantcore.cache.facts import FACTS, LASTING_KINDS, Facts
from quantcore.cache.faults import explained, explained_if_full
from quantcore.cache.files import Files, StoredFile, file_digest
from quantcore.cache.remote import Remote
from quantcore.cache.reports import Entry, Freed, VerifyReport, describe, entry
from quantcore.errors import DamagedArtifactError
from quantcore.schema import Artifact
from quantcore.settings import Settings

# The kind of the fact that a file is to be removed as soon as nobody uses it.
LEAVING = "leaving"


class Store:
    """The cache of one data folder, safe to use from many threads and processes at once.

    A fact is written after its files are in place, and removed with them. What is interrupted at
    any moment leaves at most an intact file without a fact, which the next `add` of it takes over.

    Where `Settings.artifacts` names a storage, files are brought there before a fact refers to
    them, and one that is wanted and not here is fetched from there. Facts stay in the folder.
    """

    def __init__(self, files: Files, database: Database, settings: Settings) -> None:
        self._files = files
        self._database = database
        self._facts = Facts(database)
        self._root = settings.data
        self._remote = Remote(settings.artifacts) if settings.artifacts else None
        self._origins: tuple[str, ...] = ()
        self.quota_bytes = int(settings.quota_gb * 1e9)

    @classmethod
    def open(cls, settings: Settings) -> "Store":
        """Return the store under `settings.data`, made if need be, swept of what the dead left.

        Raises:
            StoreError: the folder cannot be written to, the disk is full, a file stands in the
                way, or other processes still have a damaged `facts.sqlite` open.
        """
        with explained(settings.data):
            files = Files(settings.data)
            files.sweep()
            database = Database.open(settings.data, FACTS)
        return cls(files, database, settings)

    def made_from(self, *origins: str) -> "Store":
        """Return the same store, which notes of every fact put from now on what it was made from.

        `forget` takes all that was made from one of them away again.
        """
        marked = copy(self)
        marked._origins = origins
        return marked

    def forget(self, origin: str) -> Freed:
        """Remove the facts made from an origin, and the files that are of no other fact.

        Of a file in use one fact stays, that it is `leaving`: asked again, this removes both.

        Raises:
            StoreError: the folder, or the storage, cannot be written to.
        """
        gone, size_bytes, in_use = 0, 0, 0
        sha256s = self._facts.forget_origin(origin)
        with explained(self._root):
            for sha256 in sha256s:
                path = self._files.location(sha256)
                if self._remote is not None:
                    self._remote.remove(sha256)
                if not path.exists():
                    continue
                bytes_there = path.stat().st_size
                if self._files.remove(sha256):
                    gone, size_bytes = gone + 1, size_bytes + bytes_there
                else:
                    in_use += 1
                    self._facts.put(LEAVING, sha256, "{}", "", [sha256], [origin])
        return Freed(gone, size_bytes, len(sha256s), in_use)

    def origins(self) -> list[str]:
        """Return everything that something here was made from."""
        return self._facts.origins()

    def close(self) -> None:
        """Let go of the database."""
        self._database.close()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def add(self, write: Callable[[Path], object], format: str) -> Artifact:
        """Store the file that `write` makes at the path it is given.

        Args:
            write: makes one file, any way it likes. What it leaves beside it is discarded.
            format: of the artifact returned: `torchscript`, `logits`, …

        Raises:
            StoreError: the disk is full or cannot be written to, or the storage does not take
                the file. Nothing half written remains.
        """
        with explained(self._root), self._files.workspace() as folder:
            draft = folder / "artifact"
            with explained_if_full(self._root):
                write(draft)
            artifact = Artifact(file_digest(draft), draft.stat().st_size, format)
            with self._files.admitted(draft, artifact.sha256):
                self.evict()
                self._share(artifact.sha256)
        return artifact

    @contextmanager
    def outbox(self) -> Iterator[Path]:
        """Yield an empty folder for files on their way here; what is left in it goes.

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
        """Return where an artifact lies. Looks only whether it is there; hold `using` to keep it.

        Raises:
            DamagedArtifactError: it is not there. Facts that promised it are gone now as well.
            StoreError: the storage that may have it does not answer.
        """
        if self._is_there(sha256):
            return self._files.location(sha256)
        with self.using(sha256) as (path,):
            return path

    def checked_path(self, sha256: str) -> Path:
        """Return where an artifact lies, having read it again. Hold `using` to keep it there.

        Raises:
            DamagedArtifactError: it is not there, or its bytes changed: then it was moved to
                `quarantine/`, and every fact that refers to it is gone.
        """
        with self.using(sha256) as (path,), explained(self._root):
            if file_digest(path) == sha256:
                return path
            self._set_aside(sha256)
        raise DamagedArtifactError(
            f"The cached file {sha256[:12]} was damaged and has been moved to quarantine/.",
            "Ask again: it is made anew.",
        )

    @contextmanager
    def using(self, *sha256s: str) -> Iterator[tuple[Path, ...]]:
        """Keep artifacts from being removed by any process, and yield where they lie.

        The kernel ends the lease if this process dies. Forked children do not inherit it.

        Raises:
            DamagedArtifactError: one is not there. Facts that promised it are gone now as well.
            StoreError: the storage that may have it does not answer.
        """
        with ExitStack() as leases:
            paths = tuple(self._lease(sha256, leases) for sha256 in sha256s)
            yield paths

    @contextmanager
    def once(self, key: str, check: Callable[[], None] | None = None) -> Iterator[None]:
        """Be the only one, of all threads and processes, to work on a key; wait for one's turn.

        Look inside whether the work is done by now. The same thread must not ask for a key twice.

        Args:
            key: any text.
            check: called every 50 ms while waiting; what it raises ends the wait.
        """
        with ExitStack() as turn:
            with explained(self._root):
                turn.enter_context(locks.exclusive(self._files.turn(key), check))
            yield

    def get(self, kind: str, key: str) -> str | None:
        """Return the JSON text of a fact, None if it is not known."""
        return self.get_many(kind, [key]).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, str]:
        """Return the JSON texts of those of the keys that are known, by key."""
        return self._facts.get_many(kind, keys)

    def put(self, kind: str, key: str, value: str, artifacts: Sequence[str] = ()) -> None:
        """Write a fact, in place of an older one of its kind and key.

        Args:
            kind: `result` and `accuracy` stay when an artifact goes, their figures being true all
                the same; facts of every other kind promise their artifacts and go with them.
            key: what the fact answers.
            value: JSON text.
            artifacts: SHA-256 of the files it refers to, stored before.

        Raises:
            DamagedArtifactError: one of the artifacts promised is not there (any more).
            StoreError: the storage does not take one of them.
        """
        self._share(*artifacts)
        with self.using(*(() if kind in LASTING_KINDS else artifacts)):
            self._facts.put(kind, key, value, describe(value), artifacts, self._origins)

    def delete(self, kind: str, key: str) -> None:
        """Remove a fact, if it is there. Its artifacts stay until they are evicted."""
        self._facts.delete(kind, key)

    def list(self) -> list[Entry]:
        """Return every fact, last used first."""
        with explained(self._root):
            sizes = {file.sha256: file.size_bytes for file in self._files.scan()}
        return [entry(row, sizes) for row in self._facts.rows()]

    def size_bytes(self) -> int:
        """Return the bytes of all artifacts on disk, which `quota_bytes` limits."""
        with explained(self._root):
            return sum(file.size_bytes for file in self._files.scan())

    def clear(self) -> Freed:
        """Remove every file that is not in use, every fact without one, and the quarantine."""
        with explained(self._root):
            aside = self._files.empty_quarantine()
            stored = self._files.scan()
            # Files first: on a full disk the database could not write down that they are gone.
            gone = [file for file in stored if self._files.remove(file.sha256)]
            kept = [file.sha256 for file in self._files.scan()]
            facts = self._facts.forget_all_but(kept)
        freed = sum(file.size_bytes for file in gone)
        return Freed(len(gone), freed + aside, facts, len(stored) - len(gone))

    def verify(self) -> VerifyReport:
        """Read every file again, move damaged ones aside, and hold the facts against the files.

        Raises:
            StoreError: `facts.sqlite` is damaged.
        """
        self._database.check()
        with explained(self._root):
            stored = [file.sha256 for file in self._files.scan()]
            damaged = tuple(sha256 for sha256 in stored if self._set_aside(sha256))
            missing = [sha256 for sha256 in self._facts.promised() if not self._is_there(sha256)]
            self._facts.forget(missing, self._is_there)
        orphans = set(stored) - set(damaged) - self._facts.last_uses().keys()
        return VerifyReport(len(stored), damaged, tuple(sorted(missing)), tuple(sorted(orphans)))

    def evict(self) -> Freed:
        """Remove the least recently used files until the quota holds, but none in use."""
        with explained(self._root):
            stored = self._files.scan()
            excess = sum(file.size_bytes for file in stored) - self.quota_bytes
            if excess <= 0:
                return Freed()
            uses = self._facts.last_uses()
            stored.sort(key=lambda file: max(file.used, uses.get(file.sha256, 0.0)))
            return self._remove_oldest(stored, excess)

    def _remove_oldest(self, oldest_first: Iterable[StoredFile], excess: int) -> Freed:
        gone, in_use = [], 0
        for file in oldest_first:
            if excess <= 0:
                break
            if self._files.remove(file.sha256):
                gone.append(file)
                excess -= file.size_bytes
            else:
                in_use += 1
        facts = self._facts.forget([file.sha256 for file in gone], self._is_there)
        return Freed(len(gone), sum(file.size_bytes for file in gone), facts, in_use)

    def _lease(self, sha256: str, leases: ExitStack) -> Path:
        with explained(self._root):
            with suppress(FileNotFoundError):
                return leases.enter_context(self._files.in_use(sha256))
            if self._remote is None:
                raise self._missing(sha256)
            return self._fetched(self._remote, sha256, leases)

    def _fetched(self, remote: Remote, sha256: str, leases: ExitStack) -> Path:
        """Admit a file that another machine brought to the storage, and keep it in use."""
        with (
            locks.exclusive(self._files.turn(f"fetch {sha256}")),
            self._files.workspace() as folder,
        ):
            with suppress(FileNotFoundError):
                # Whoever had the turn before may have fetched it.
                return leases.enter_context(self._files.in_use(sha256))
            draft = folder / "artifact"
            if not remote.download(sha256, draft):
                raise self._missing(sha256)
            if file_digest(draft) != sha256:
                self._facts.forget([sha256], self._is_there)
                raise remote.damaged(sha256)
            leases.enter_context(self._files.admitted(draft, sha256))
            self.evict()
        return self._files.location(sha256)

    def _share(self, *sha256s: str) -> None:
        """Bring files to the storage, if there is one; what is not here is left as it is."""
        if self._remote is None:
            return
        with explained(self._root):
            for sha256 in sha256s:
                with suppress(FileNotFoundError), self._files.in_use(sha256) as path:
                    self._remote.upload(path, sha256)

    def _set_aside(self, sha256: str) -> bool:
        return self._files.set_aside_if_damaged(
            sha256, lambda: self._facts.forget([sha256], self._is_there, promises_only=False)
        )

    def _missing(self, sha256: str) -> DamagedArtifactError:
        self._facts.forget([sha256], self._is_there)
        return DamagedArtifactError(
            f"The file {sha256[:12]} is no longer in the cache.", "Ask again: it is made anew."
        )

    def _is_there(self, sha256: str) -> bool:
        return self._files.location(sha256).exists()
