"""Compare the variants of one model from Python."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path

from quantcore.api import model_file
from quantcore.api.comparison import Comparison
from quantcore.engine import plan, require_used
from quantcore.errors import RequestError
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Target,
    split_names,
    target_of,
)
from quantcore.service import Service
from quantcore.settings import Settings

OWNER = "python"
POLL_S = 0.5

Progress = Callable[[str, float], None]


def compare(
    model: str | Path | ModelSpec,
    workflows: str | Sequence[str] | None = None,
    backends: str | Sequence[str] | None = None,
    *,
    settings: Mapping[str, Mapping[str, Setting]] | None = None,
    target: Target | None = None,
    images: str | Path | None = None,
    evaluation_images: int = ImageSpec.evaluation_images,
    image_size: int | None = None,
    threads: int | None = None,
    batch: int = 1,
    data: str | Path | None = None,
    progress: Progress = lambda stage, share: None,
) -> Comparison:
    """Convert and measure the variants of one model on this machine.

    Args:
        model: `bundled/NAME`, `torchvision/NAME`, `torchvision/NAME@random`, or a model file.
        workflows: names, or one text with commas; those of a first comparison where left out: all,
            or fewer for a target. float32 is always measured, as what others are compared to.
        backends: likewise.
        settings: of workflows, by name: `{"static": {"observer": "minmax"}}`.
        target: where it will run, `server`, `phone` or `browser`; None where that is not decided.
        images: folder or zip of pictures; None takes the model's own.
        evaluation_images: how many pictures each file is evaluated on, at most.
        image_size: side in px; None takes the model's own.
        threads: of a timed call; None takes `QUANTCORE_THREADS`.
        batch: pictures of a timed call.
        data: folder in which files and figures are kept; None takes `QUANTCORE_DATA`.
        progress: called with what is done at the moment and the share done, 0 to 1.

    Raises:
        RequestError: an unknown model, workflow, backend or setting, or pictures that cannot be
            read.
    """
    own, place = process_settings(data), target_of(target)
    pictures = ImageSpec(
        None if images is None else str(Path(images).resolve()), evaluation_images, image_size
    )
    measure = MeasureSpec.of(own, threads, batch)
    with closing(Service(own)) as service:
        spec = model if isinstance(model, ModelSpec) else _spec(service, str(model), progress)
        cells = _names(workflows), _names(backends)
        request = plan(spec, *cells, settings, pictures, measure, place)
        require_used(settings or (), request.workflows)
        return _measured(service, request, progress)


def process_settings(data: str | Path | None) -> Settings:
    """Return the settings of the environment, with another data folder if one is named."""
    settings = Settings.from_env()
    return settings if data is None else replace(settings, data=Path(data))


def _names(names: str | Sequence[str] | None) -> Sequence[str] | None:
    chosen = split_names(names) if isinstance(names, str) else names
    if chosen is not None and not chosen:
        raise RequestError(f"{names!r} names none.", "Name one, or leave it out.")
    return chosen


def _spec(service: Service, model: str, progress: Progress) -> ModelSpec:
    """Return the model of that name, or the one in a file, which is looked at first."""
    if not model_file.is_file(model):
        return ModelSpec(model)
    return model_file.model(service, model, OWNER, None, lambda stage: progress(stage, 0.0))


def _measured(service: Service, request: CompareRequest, progress: Progress) -> Comparison:
    job_id = service.start(request, owner=OWNER, asked_by="Python")
    view = service.view(job_id)
    try:
        while view.is_open:
            running = (cell.stage for cell in view.cells if cell.state == "running")
            progress(next(running, "waiting"), view.share)
            view = service.wait(job_id, timeout_s=POLL_S)
    except BaseException:
        # Else a server on the same data folder would go on with it.
        service.cancel(job_id)
        raise
    return Comparison.of(view.comparison)
