"""What is done to the cache as a whole: listed, limited, verified, cleared."""

from collections.abc import Iterable
from pathlib import Path

from quantcore.cache.artifacts import Artifacts
from quantcore.cache.database import Database
from quantcore.cache.facts import Facts
from quantcore.cache.faults import explained
from quantcore.cache.files import Files, StoredFile
from quantcore.cache.remote import Remote
from quantcore.cache.reports import Entry, Freed, VerifyReport, entry

# The kind of the fact that a file is to be removed as soon as nobody uses it.
LEAVING = "leaving"


class Quota:
    """The limit on the bytes of all artifacts, which the least recently used ones give way to."""

    def __init__(self, root: Path, files: Files, facts: Facts, max_bytes: int) -> None:
        self._root = root
        self._files = files
        self._facts = facts
        self._max_bytes = max_bytes

    def enforce(self) -> Freed:
        """Remove the least recently used files until the quota holds, but none in use."""
        with explained(self._root):
            stored = self._files.scan()
            excess = sum(file.size_bytes for file in stored) - self._max_bytes
            if excess <= 0:
                return Freed()
            last_uses = self._facts.last_uses()
            stored.sort(key=lambda file: max(file.used, last_uses.get(file.sha256, 0.0)))
            return self._remove_oldest(stored, excess)

    def _remove_oldest(self, oldest_first: Iterable[StoredFile], excess: int) -> Freed:
        removed, in_use = [], 0
        for file in oldest_first:
            if excess <= 0:
                break
            if self._files.remove(file.sha256):
                removed.append(file)
                excess -= file.size_bytes
            else:
                in_use += 1
        facts = self._facts.delete_of([file.sha256 for file in removed], self._files.exists)
        return Freed(len(removed), sum(file.size_bytes for file in removed), facts, in_use)


class Maintenance:
    """What an operator does with the cache of one data folder, and what deletes an upload."""

    def __init__(
        self,
        root: Path,
        database: Database,
        files: Files,
        facts: Facts,
        artifacts: Artifacts,
        remote: Remote | None,
    ) -> None:
        self._root = root
        self._database = database
        self._files = files
        self._facts = facts
        self._artifacts = artifacts
        self._remote = remote

    def entries(self) -> list[Entry]:
        """Return every fact, last used first."""
        with explained(self._root):
            sizes = {file.sha256: file.size_bytes for file in self._files.scan()}
        return [entry(row, sizes) for row in self._facts.rows()]

    def size_bytes(self) -> int:
        """Return the bytes of all artifacts on disk, which the quota limits."""
        with explained(self._root):
            return sum(file.size_bytes for file in self._files.scan())

    def clear(self) -> Freed:
        """Remove every file that is not in use, every fact without one, and the quarantine."""
        with explained(self._root):
            quarantined = self._files.empty_quarantine()
            stored = self._files.scan()
            # Files first: on a full disk the database could not write down that they are gone.
            removed = [file for file in stored if self._files.remove(file.sha256)]
            kept = [file.sha256 for file in self._files.scan()]
            facts = self._facts.delete_all_but(kept)
        freed = sum(file.size_bytes for file in removed)
        return Freed(len(removed), freed + quarantined, facts, len(stored) - len(removed))

    def verify(self) -> VerifyReport:
        """Read every file again, quarantine damaged ones, and hold the facts against the files.

        Raises:
            StoreError: `facts.sqlite` is damaged.
        """
        self._database.check()
        with explained(self._root):
            stored = [file.sha256 for file in self._files.scan()]
            damaged = tuple(filter(self._artifacts.quarantine_if_damaged, stored))
            missing = sorted(
                sha256 for sha256 in self._facts.promised() if not self._files.exists(sha256)
            )
            self._facts.delete_of(missing, self._files.exists)
        orphans = set(stored) - set(damaged) - self._facts.last_uses().keys()
        return VerifyReport(len(stored), damaged, tuple(missing), tuple(sorted(orphans)))

    def source_uploads(self) -> list[str]:
        """Return every upload that something in the cache was made from."""
        return self._facts.source_uploads()

    def delete_upload(self, upload: str) -> Freed:
        """Delete the facts made from an upload, and the files that no other fact refers to.

        Of a file in use one fact stays, that it is `leaving`: called again, this removes both.

        Raises:
            StoreError: the folder, or the storage, cannot be written to.
        """
        files, size_bytes, in_use = 0, 0, 0
        sha256s = self._facts.delete_upload(upload)
        with explained(self._root):
            for sha256 in sha256s:
                if self._remote is not None:
                    self._remote.remove(sha256)
                if not self._files.exists(sha256):
                    continue
                file_bytes = self._files.location(sha256).stat().st_size
                if self._files.remove(sha256):
                    files, size_bytes = files + 1, size_bytes + file_bytes
                else:
                    in_use += 1
                    self._facts.put(LEAVING, sha256, "{}", "", [sha256], [upload])
        return Freed(files, size_bytes, len(sha256s), in_use)
