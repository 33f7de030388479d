"""The cache: content-addressed artifacts in a folder, and facts about them in SQLite."""

from quantcore.store.reports import Entry, Freed, VerifyReport
from quantcore.store.store import Store

__all__ = ["Entry", "Freed", "Store", "VerifyReport"]
