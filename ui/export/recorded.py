"""Exports that were made before, with their verification reports."""

from dataclasses import replace

from quantcore.errors import QuantcoreError
from quantcore.exports import Exports, exports
from quantcore.formats import FORMATS
from quantcore.schema import (
    ImageSpec,
    MeasureSpec,
    VariantResult,
    VerificationReport,
    current_environment,
)
from ui.common import state
from ui.common.state import Shown
from ui.export.form import size_of

# A variant that was measured, and what was verified of a file made from it.
ExportedRow = tuple[VariantResult, VerificationReport]


def export_service() -> Exports:
    """Return the export queue of this server."""
    return state.service().exports


def exported_of(shown: Shown) -> list[ExportedRow]:
    """Return the files that were made of what is shown, in any format, with their reports.

    None of another machine's comparison: figures of two machines do not go into one plot.
    """
    comparison = shown.comparison
    if comparison.environment != current_environment():
        return []
    images, measure = comparison.request.images, MeasureSpec.of(state.settings())
    return [
        (row, report)
        for row in shown.results
        # A file is timed on one image a call, with this server's threads.
        if (row.batch, row.threads) == (measure.batch, measure.threads)
        for format in FORMATS
        if (report := _recorded(row, format, images, measure)) is not None
    ]


def _recorded(
    row: VariantResult, format: str, images: ImageSpec, measure: MeasureSpec
) -> VerificationReport | None:
    # The page asks for files that are verified on its default number of pictures.
    side = None if row.image_size == size_of(row.model) else row.image_size
    pictures = replace(images, evaluation_images=ImageSpec().evaluation_images, image_size=side)
    try:
        return export_service().recorded(exports.spec_of(row, format, pictures, measure))
    except QuantcoreError:
        return None
