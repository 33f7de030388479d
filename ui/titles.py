"""What models, workflows and backends are called on a page, with the sentence a tooltip says."""

from collections.abc import Iterable, Sequence

from quantcore.backends import BACKENDS
from quantcore.decide.words import labels
from quantcore.errors import RequestError
from quantcore.models.catalogue import find
from quantcore.results import VariantResult
from quantcore.specs import ModelSpec, Variant
from quantcore.workflows import WORKFLOWS


def workflows() -> Sequence[str]:
    """Return the names of the workflows that quantize, in the registry's order."""
    return [name for name in WORKFLOWS if name != "float32"]


def backends() -> Sequence[str]:
    """Return the names of the backends, in the registry's order."""
    return list(BACKENDS)


def workflow(name: str) -> str:
    """Return the workflow's title; an unknown one keeps its name."""
    return WORKFLOWS[name].title if name in WORKFLOWS else name


def backend(name: str) -> str:
    """Return the backend's title; an unknown one keeps its name."""
    return BACKENDS[name].title if name in BACKENDS else name


def variant(workflow_name: str, backend_name: str | None) -> str:
    """Return a variant in words: `Static on x86`; float32 has no backend."""
    title = workflow(workflow_name)
    return f"{title} on {backend(backend_name)}" if backend_name else title


def workflow_summaries() -> dict[str, str]:
    """Return one sentence per workflow that quantizes, by title."""
    return {WORKFLOWS[name].title: WORKFLOWS[name].summary for name in workflows()}


def backend_summaries() -> dict[str, str]:
    """Return one sentence per backend, by title."""
    return {backend.title: backend.summary for backend in BACKENDS.values()}


def model(spec: ModelSpec) -> str:
    """Return the model's title; one the catalogue does not know keeps its name."""
    try:
        return find(spec).title
    except RequestError:
        return spec.name


def plain(sentence: str, rows: Iterable[VariantResult]) -> str:
    """Return a sentence with the variants in it called as on the page: `Static on x86`."""
    for row in rows:
        if row.backend:
            label = Variant(row.workflow, row.backend).label
            sentence = sentence.replace(label, variant(row.workflow, row.backend))
    return sentence


def places(rows: Sequence[VariantResult]) -> dict[str, str]:
    """Return by key where a row runs: its backend, and settings that tell namesakes apart."""
    names = labels(rows)
    return {row.key: _place(row, names[row.key]) for row in rows}


def _place(row: VariantResult, label: str) -> str:
    differs = label.removeprefix(Variant(row.workflow, row.backend).label)
    return f"{backend(row.backend) if row.backend else 'reference'}{differs}"
