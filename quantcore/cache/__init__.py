"""The cache: content-addressed artifacts in a folder, and facts about them in SQLite."""

from quantcore.cache.database import Database, Schema
from quantcore.cache.faults import explained
from quantcore.cache.maintenance import Maintenance
from quantcore.cache.reports import Entry, Freed, VerifyReport
from quantcore.cache.store import Store

__all__ = [
    "Database",
    "Entry",
    "Freed",
    "Maintenance",
    "Schema",
    "Store",
    "VerifyReport",
    "explained",
    "locks",
]
