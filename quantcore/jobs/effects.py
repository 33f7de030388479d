"""Effects of changed cells on others of the same job, in the same transaction."""

import time
from collections.abc import Iterable
from dataclasses import replace
from sqlite3 import Connection

from quantcore.backends import entry
from quantcore.engine import FLOAT32
from quantcore.jobs.tables import cell_variants, fetch_all, outcome_columns, parse_row
from quantcore.schema import FLOAT_WORKFLOW, CompareRequest, Failure, Variant
from quantcore.workflows import settings_of


def apply_effects(db: Connection, numbers: Iterable[int]) -> None:
    """Fail the cells whose reference failed, and note which of these jobs have ended."""
    for number in set(numbers):
        _fail_without_reference(db, number)
        db.execute(
            "UPDATE jobs SET ended = ? WHERE number = ? AND ended IS NULL AND NOT EXISTS"
            " (SELECT 1 FROM cells WHERE job = number AND state IN ('waiting', 'running'))",
            (time.time(), number),
        )


def fail_waiting(
    db: Connection,
    number: int,
    reason: Failure,
    only: tuple[CompareRequest, Variant] | None = None,
) -> None:
    """Fail the waiting cells of a job with another cell's reason.

    Args:
        db: in a transaction.
        number: of the job.
        reason: the failure of the other cell.
        only: that cell's request and variant, where the reason holds only for the cells that are
            measured against it.
    """
    variants = _variants(db, number)
    waiting = fetch_all(
        db, "SELECT cell_index, key FROM cells WHERE job = ? AND state = 'waiting'", (number,)
    )
    for cell in waiting:
        request, variant = variants[cell["cell_index"]]
        if only is None or (request == only[0] and _is_measured_against(request, only[1], variant)):
            row = _failure_alike(cell["key"], request, variant, reason)
            fail_cell(db, number, cell["cell_index"], row)


def _failure_alike(key: str, request: CompareRequest, variant: Variant, reason: Failure) -> Failure:
    return replace(
        reason,
        key=key,
        model=request.model.name,
        workflow=variant.workflow,
        backend=variant.backend,
        settings=settings_of(variant),
    )


def _is_measured_against(request: CompareRequest, reference: Variant, variant: Variant) -> bool:
    """Return whether a variant needs a float32: the first for its answers, or its backend's own.

    The first is torch's, unless torch cannot read the model.
    """
    backend = entry(variant.backend)
    floats = [each for each in request.variants if each.is_float]
    references = {FLOAT32} if FLOAT32 in floats else set(floats[:1])
    # A queue may hold variants of a backend that today's version has no more.
    if backend is not None:
        references.add(Variant(FLOAT_WORKFLOW, backend.float_backend))
    return variant != reference and reference in references


def _fail_without_reference(db: Connection, number: int) -> None:
    """Fail the waiting cells of a job whose reference failed: there is nothing to compare with."""
    failed = fetch_all(
        db,
        "SELECT cell_index, row FROM cells WHERE job = ? AND state = 'failed' AND EXISTS"
        " (SELECT 1 FROM cells AS other WHERE other.job = cells.job AND other.state = 'waiting')",
        (number,),
    )
    variants = _variants(db, number) if failed else []
    for cell in failed:
        request, variant = variants[cell["cell_index"]]
        reason = parse_row(cell["row"])
        if variant.is_float and isinstance(reason, Failure):
            fail_waiting(db, number, reason, only=(request, variant))


def _variants(db: Connection, number: int) -> list[tuple[CompareRequest, Variant]]:
    (text,) = db.execute("SELECT requests FROM jobs WHERE number = ?", (number,)).fetchone()
    return cell_variants(text)


def fail_cell(db: Connection, number: int, index: int, row: Failure) -> None:
    """End a cell with a failure, whether it waits or an attempt at it runs."""
    db.execute(
        "UPDATE cells SET state = ?, outcome = ?, row = ?, share = 1, ended = ?,"
        " attempt_id = NULL WHERE job = ? AND cell_index = ?",
        (*outcome_columns(row), time.time(), number, index),
    )
