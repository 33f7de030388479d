"""The app as the benchmarks use it: cold, in a data folder of its own, without a browser."""

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

from quantcore.cache import Store
from quantcore.engine import PRELOADED_MODULES, CellContext, Conversion, stages
from quantcore.errors import QuantcoreError
from quantcore.models import catalogue, weights_digest
from quantcore.sandbox import ProcessPool, never_stop
from quantcore.schema import CompareRequest, Comparison, ModelSpec, Variant, VariantResult
from quantcore.service import Service
from quantcore.settings import Settings

FLOAT32 = Variant("float32", None)


@contextmanager
def cold_folder() -> Iterator[Path]:
    """Yield an empty data folder, gone afterwards."""
    # A worker that is still ending may write a last line into it.
    with tempfile.TemporaryDirectory(prefix="quantcore-bench-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def cold_settings() -> Iterator[Settings]:
    """Yield the default settings with an empty data folder."""
    with cold_folder() as folder:
        yield replace(Settings.from_env(), data=folder)


def compared(request: CompareRequest, settings: Settings) -> Comparison:
    """Return the finished comparison, run by a worker as the app runs it."""
    with closing(Service(settings)) as service:
        return finished(service, request)


def finished(service: Service, request: CompareRequest) -> Comparison:
    """Start a comparison, and return it when it is over."""
    job_id = service.start(request)
    while (view := service.wait(job_id, timeout_s=1.0)).is_open:
        pass
    return view.comparison


def row(comparison: Comparison, variant: Variant) -> VariantResult:
    """Return the figures of one variant.

    Raises:
        QuantcoreError: it has none; the sentences are those of its failure.
    """
    for result in comparison.results:
        if (result.workflow, result.backend) == (variant.workflow, variant.backend):
            return result
    for failure in comparison.failures:
        if (failure.workflow, failure.backend) == (variant.workflow, variant.backend):
            raise QuantcoreError(f"{variant.label}: {failure.reason}", failure.remedy)
    raise QuantcoreError(f"{variant.label} was not part of the comparison.")


class Workshop:
    """Makes the app's files for a request, and forks children to run them in."""

    def __init__(self, request: CompareRequest, settings: Settings) -> None:
        self.pool = ProcessPool(PRELOADED_MODULES)
        self._store = Store.open(settings)
        self._job = CellContext(
            request, settings, self._store, self.pool, lambda _stage, _share: None, never_stop
        )

    def convert(self, variant: Variant) -> Conversion:
        """Return the facts of the variant's file, made if need be."""
        return stages.convert(self._job, variant, 0.0, 1.0)

    def path(self, conversion: Conversion) -> Path:
        """Return the path of a file."""
        return self._store.path(conversion.artifact.sha256)

    def __enter__(self) -> "Workshop":
        return self

    def __exit__(self, *_: object) -> None:
        self.pool.close()
        self._store.close()


def convolutional_models() -> list[str]:
    """Return the names of the bundled convolutional models: those with a quantizable twin."""
    return [
        name
        for name, info in catalogue().items()
        if info.source == "bundled" and info.static_mode == "eager"
    ]


def absence(name: str) -> str | None:
    """Return the sentence that says a model's weights are not here; None where they are."""
    try:
        weights_digest(ModelSpec(name))
    except QuantcoreError as error:
        return f"{name} is skipped: {error}"
    return None
