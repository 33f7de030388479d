"""Titles of models, workflows and backends on pages, and the sentences of their tooltips."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from quantcore import wording
from quantcore.backends import BACKENDS
from quantcore.decide import ReferenceGroup, labels, reference_group
from quantcore.errors import RequestError
from quantcore.jobs import cells_of
from quantcore.models import find
from quantcore.schema import FLOAT_WORKFLOW, CompareRequest, ModelSpec, Variant, VariantResult
from quantcore.workflows import WORKFLOWS

GONE = "a deleted upload"
_SOURCE_WORDS = {
    "bundled": "of bundled",
    "torchvision": "of torchvision",
    "upload": "that was uploaded",
}


def workflows() -> Sequence[str]:
    """Return the names of the workflows that quantize, in the registry's order."""
    return [name for name in WORKFLOWS if name != FLOAT_WORKFLOW]


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
        return GONE if spec.source == "upload" else spec.name


def models(names: Iterable[str]) -> dict[str, str]:
    """Return the models' titles by name; namesakes say where they are from."""
    title_of = {name: model(ModelSpec(name)) for name in dict.fromkeys(names)}
    many = Counter(title_of.values())
    return {
        name: title if many[title] == 1 else f"{title} {_SOURCE_WORDS[ModelSpec(name).source]}"
        for name, title in title_of.items()
    }


def speaker(rows: Iterable[labels.Cell]) -> Callable[[str], str]:
    """Return a function that replaces the names in a sentence by titles: `Static on x86`.

    A name may begin a sentence, with its first letter in upper case.
    """
    cells = list(rows)
    spoken = {
        Variant(name, where).label: variant(name, where)
        for name, where in {(row.workflow, row.backend) for row in cells}
        if where
    } | models(row.model for row in cells)
    spoken |= {wording.capital(name): title for name, title in spoken.items()}
    # The longest first, since one name may be the beginning of another.
    longest_first = sorted(spoken, key=len, reverse=True)
    # Without any name the pattern is one that nothing matches.
    pattern = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")
    return lambda sentence: pattern.sub(lambda match: spoken[match[0]], sentence)


def names(rows: Sequence[labels.Cell]) -> list[str]:
    """Return the title of each row: `Static on x86 (ResNet-18, 48 px)`."""
    speak = speaker(rows)
    return [wording.capital(speak(label)) for label in labels.names(rows)]


def by_key(rows: Sequence[VariantResult]) -> dict[str, str]:
    """Return by key what each row is called."""
    return dict(zip((row.key for row in rows), names(rows), strict=True))


def cell_names(requests: Sequence[CompareRequest]) -> list[str]:
    """Return the name of every cell of the requests, in the order of a job's cells."""
    return names(cells_of(requests))


def reference_groups(rows: Sequence[VariantResult]) -> dict[ReferenceGroup, str]:
    """Return the title of each reference group: `ResNet-18, 48 px`."""
    titled = models(row.model for row in rows)
    return {
        reference_group(row): ", ".join(titled.get(part, part) for part in parts)
        for row, parts in zip(rows, labels.surroundings(rows), strict=True)
    }


def locations(rows: Sequence[VariantResult]) -> dict[str, str]:
    """Return by key where a row runs: its backend, and settings that tell namesakes apart."""
    labelled = zip(rows, labels.names(rows, within=True), strict=True)
    return {row.key: _location(row, label) for row, label in labelled}


def _location(row: VariantResult, label: str) -> str:
    differs = label.removeprefix(Variant(row.workflow, row.backend).label)
    return f"{backend(row.backend) if row.backend else 'reference'}{differs}"
