"""Data folders of older versions are migrated step by step, and those of newer ones left alone."""

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from quantcore.cache import Database, Schema, Store
from quantcore.cache.facts import FACTS
from quantcore.errors import StoreError
from quantcore.settings import Settings
from tests.cache.helpers import CONTENT, SHA256, add, child_that
from tests.support import databases
from tests.support.processes import hang

DUMP = Path(__file__).parent / "data" / "facts_2.sql"
UPLOAD = "upload/" + "b" * 32


@pytest.fixture
def old(settings: Settings) -> Path:
    """The facts that a folder of schema 2 has, and the files they promise."""
    file = settings.data / "facts.sqlite"
    databases.load(DUMP, file)
    return file


def test_facts_of_an_older_folder_are_kept_under_their_kind_of_today(
    old: Path, settings: Settings
) -> None:
    with Store.open(settings) as store:
        kinds = sorted((entry.kind, entry.key) for entry in store.maintenance.entries())
        assert kinds == [
            ("conversion", "c"),
            ("evaluation", "j"),
            ("evaluation", "k"),
            ("result", "r"),
        ]
        conversion = json.loads(store.get("conversion", "c") or "")
        assert (conversion["workflow"], conversion["artifact"]) == ("static", SHA256)
        assert json.loads(store.get("evaluation", "j") or "")["float_multiply_adds"] == 7
        assert store.maintenance.source_uploads() == [UPLOAD]
    assert databases.version(old) == FACTS.version


@pytest.mark.usefixtures("old")
def test_a_migrated_folder_still_knows_files_and_uploads_of_each_fact(settings: Settings) -> None:
    with Store.open(settings) as store:
        assert add(store, CONTENT) == SHA256
        add(store, b"logits" * 100)
        assert store.maintenance.verify().is_clean
        # The results are of the upload, whose files other facts have as well.
        assert store.maintenance.delete_upload(UPLOAD).artifacts == 0
        kept = sorted((entry.kind, entry.key) for entry in store.maintenance.entries())
        assert kept == [("conversion", "c"), ("evaluation", "j")]


def test_a_migrated_file_has_the_tables_of_a_new_one(
    old: Path, settings: Settings, tmp_path: Path
) -> None:
    Store.open(settings).close()
    Store.open(Settings(data=tmp_path / "new")).close()
    assert databases.tables(old) == databases.tables(tmp_path / "new" / "facts.sqlite")


STEPS = (
    "CREATE TABLE notes (text TEXT);",
    "ALTER TABLE notes ADD COLUMN author TEXT NOT NULL DEFAULT 'nobody';",
    "ALTER TABLE notes RENAME COLUMN text TO body;",
)


def schema(steps: tuple[str, ...]) -> Schema:
    return Schema("notes", steps, "SELECT * FROM notes LIMIT 1")


@pytest.mark.parametrize("version", range(1, len(STEPS) + 1))
def test_a_file_goes_through_the_steps_that_it_lacks(tmp_path: Path, version: int) -> None:
    (tmp_path / "locks").mkdir()
    older = Database.open(tmp_path, schema(STEPS[:version]))
    with older.writing() as db:
        db.execute("INSERT INTO notes DEFAULT VALUES")
    older.close()
    newer = Database.open(tmp_path, schema(STEPS))
    with newer.reading() as db:
        assert db.execute("SELECT body FROM notes").fetchall() == [(None,)]
    newer.close()


def test_a_step_that_fails_leaves_the_file_at_the_version_before(tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    broken = schema((*STEPS[:1], "DROP TABLE notes; SELECT * FROM nothing;"))
    with pytest.raises(StoreError):
        Database.open(tmp_path, broken)
    assert databases.version(tmp_path / "notes.sqlite") == 1
    Database.open(tmp_path, schema(STEPS)).close()


def test_a_folder_that_an_older_version_works_on_is_left_alone(
    old: Path, settings: Settings
) -> None:
    older = Schema("facts", FACTS.migrations[:2], FACTS.probe)

    def serve(ready: Callable[[], None]) -> None:
        (settings.data / "locks").mkdir()
        with closing(Database.open(settings.data, older)):
            ready()
            hang()

    with child_that(serve):
        with pytest.raises(StoreError, match="older version") as error:
            Store.open(settings)
        assert error.value.remedy
    assert databases.version(old) == 2
    Store.open(settings).close()


def test_a_folder_of_a_newer_version_is_left_alone(old: Path, settings: Settings) -> None:
    databases.set_version(old, FACTS.version + 1)
    before = databases.tables(old)
    with pytest.raises(StoreError, match="newer version") as error:
        Store.open(settings)
    assert "QUANTCORE_DATA" in error.value.remedy
    assert databases.tables(old) == before
    with closing(sqlite3.connect(old)) as db:
        assert db.execute("SELECT COUNT(*) FROM facts").fetchone() == (5,)
