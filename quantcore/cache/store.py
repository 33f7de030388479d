"""The store: artifacts, facts about them, and the promise that the two always agree."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from copy import copy
from types import TracebackType

from quantcore.cache import locks
from quantcore.cache.artifacts import Artifacts
from quantcore.cache.database import Database
from quantcore.cache.facts import FACTS, LASTING_KIND, Facts
from quantcore.cache.faults import explained
from quantcore.cache.files import Files
from quantcore.cache.maintenance import Maintenance, Quota
from quantcore.cache.remote import Remote
from quantcore.cache.reports import describe
from quantcore.settings import Settings


class Store(Artifacts):
    """The cache of one data folder, safe to use from many threads and processes at once.

    A fact is written after its files are in place, and deleted with them. What is interrupted at
    any moment leaves at most an intact file without a fact, which the next `add` of it takes over.
    Facts stay in the folder, also where `Settings.artifacts` names a storage for the files.

    Attributes:
        quota: the limit on the bytes of all artifacts.
        maintenance: what is done to the cache as a whole.
    """

    def __init__(self, settings: Settings, files: Files, database: Database) -> None:
        root, facts = settings.data, Facts(database)
        remote = Remote(settings.artifacts) if settings.artifacts else None
        self.quota = Quota(root, files, facts, int(settings.quota_gb * 1e9))
        super().__init__(root, files, facts, remote, self.quota.enforce)
        self.maintenance = Maintenance(root, database, files, facts, self, remote)
        self._database = database
        self._source_uploads: tuple[str, ...] = ()

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
        return cls(settings, files, database)

    def with_sources(self, *uploads: str) -> "Store":
        """Return a view of the store that records these uploads as sources of every fact put.

        `maintenance.delete_upload` deletes all that was made from one of them.
        """
        marked = copy(self)
        marked._source_uploads = uploads
        return marked

    def close(self) -> None:
        """Close the database."""
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
        """Return the JSON text of a fact, None if it is not cached."""
        return self.get_many(kind, [key]).get(key)

    def get_many(self, kind: str, keys: Iterable[str]) -> dict[str, str]:
        """Return the JSON texts of the facts of these keys that are cached, by key."""
        return self._facts.get_many(kind, keys)

    def put(self, kind: str, key: str, value: str, artifacts: Sequence[str] = ()) -> None:
        """Write a fact, in place of an older one of its kind and key.

        Args:
            kind: a `result` stays when an artifact goes, its figures being true all the same;
                facts of every other kind promise their artifacts and are deleted with them.
            key: what the fact answers.
            value: JSON text.
            artifacts: SHA-256 of the files it refers to, stored before.

        Raises:
            DamagedArtifactError: one of the artifacts promised is not there (any more).
            StoreError: the storage does not take one of them.
        """
        self.upload(*artifacts)
        with self.using(*(() if kind == LASTING_KIND else artifacts)):
            self._facts.put(kind, key, value, describe(value), artifacts, self._source_uploads)

    def delete(self, kind: str, key: str) -> None:
        """Delete a fact, if it is there. Its artifacts stay until they are evicted."""
        self._facts.delete(kind, key)
