"""A bundled model fine-tuned on 400 drawings of two new classes, then made 8-bit."""

import time
from collections.abc import Iterator

from benchmarks.app import cold_settings
from benchmarks.drawings import KINDS, packed
from benchmarks.lines import Figure, absent, at_least, at_most, note, shown
from quantcore.engine import FLOAT32
from quantcore.fine_tuning import USUAL_EPOCHS, FineTuningSpec, FineTuningView
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Variant,
    VariantResult,
)
from quantcore.service import Service
from quantcore.uploads import Upload

BACKBONE = ModelSpec("bundled/mobilenet_v2")
PICTURES = 400
OWNER = "benchmark"
LEAST_TOP1 = 0.9
LIMIT_S = 120.0
WAIT_S = 900.0
QUANTIZED = (Variant("static", "x86"), Variant("qat", "x86"))


def lines(
    pictures: int = PICTURES,
    epochs: int = USUAL_EPOCHS,
    variants: tuple[Variant, ...] = QUANTIZED,
) -> Iterator[Figure | str]:
    """Yield the seconds of each step, and how many drawings the 8-bit files name right."""
    with cold_settings() as settings:
        service = Service(settings)
        try:
            yield from _lines(service, pictures, epochs, variants, MeasureSpec.of(settings))
        finally:
            service.close()


def _lines(
    service: Service,
    pictures: int,
    epochs: int,
    variants: tuple[Variant, ...],
    measure: MeasureSpec,
) -> Iterator[Figure | str]:
    drawings = service.uploads.receive("drawings.zip", [packed(pictures)], OWNER)
    began = time.monotonic()
    service.inspections.start(drawings)
    inspected = service.inspections.wait(drawings.token, WAIT_S)
    if inspected.state != "done":
        yield absent("the look at the drawings", str(inspected.problem))
        return
    looked_s = time.monotonic() - began
    yield shown(f"looking through {pictures} drawings", looked_s, "s")
    fine_tuning = service.fine_tuning
    run_id = fine_tuning.start(FineTuningSpec(BACKBONE, drawings.name, epochs), OWNER)
    view = fine_tuning.wait(run_id, WAIT_S)
    if view.upload is None:
        yield absent("the fine-tuning run", str(view.problem))
        return
    fine_tuned_s = time.monotonic() - began
    yield shown("teaching them to MobileNet v2", fine_tuned_s - looked_s, "s")
    yield note(_described(view))
    rows = _compared(service, view.upload, drawings, variants, measure)
    total_s = time.monotonic() - began
    for row in rows:
        if row.accuracy is None:
            yield absent(row.workflow, "it has no accuracy")
            continue
        what = f"top-1 of {row.workflow} on drawings that nothing was tuned with"
        top1 = row.accuracy.top1
        is_bound = not row.is_float
        yield (
            at_least(what, top1, "", LEAST_TOP1, "the aim") if is_bound else shown(what, top1, "")
        )
    yield at_most("from the pictures to the plot", total_s, "s", LIMIT_S, "the aim")


def _described(view: FineTuningView) -> str:
    first, last = view.curve[0], view.curve[-1]
    return (
        f"Held-out: {first.accuracy:.0%} with the new last layer alone, {last.accuracy:.0%} after "
        f"{last.epoch} epochs. Two kinds of drawing: {' and '.join(KINDS)}."
    )


def _compared(
    service: Service,
    model: Upload,
    drawings: Upload,
    variants: tuple[Variant, ...],
    measure: MeasureSpec,
) -> tuple[VariantResult, ...]:
    request = CompareRequest(
        ModelSpec(model.name),
        (FLOAT32, *variants),
        ImageSpec(drawings.name),
        measure,
    )
    job = service.start(request, owner=OWNER)
    deadline = time.monotonic() + WAIT_S
    while (view := service.wait(job, 5.0)).is_open and time.monotonic() < deadline:
        pass
    for failure in view.comparison.failures:
        raise RuntimeError(f"{failure.workflow}: {failure.reason}\n{failure.details}")
    return view.comparison.results
