"""Recognition of the architecture that weights belong to, by their tensors' names and shapes.

`recognise` compares them with every fingerprint, allowing for what training programs do to a state
dict: a common beginning put before every name (`module.`, `model.`), another number of classes,
auxiliary classifiers or counters left out, bookkeeping of other programs left in. It does not allow
for what changes a model's answers, such as further layers, and says so instead.
"""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache

from quantcore.models import catalogue
from quantcore.untrusted.candidate import Candidate
from quantcore.untrusted.fingerprints import CLASSES, Fingerprint, Shape, fingerprints
from quantcore.untrusted.text import listed, shown
from quantcore.untrusted.unrecognised import refusal

MAX_NEAREST = 3
MAX_COMPARED = 12
MAX_PREFIXES = 40
MIN_PREFIX_SHARE = 0.15
MAX_PREFIX_DEPTH = 5
# torch.compile puts this before the names of whatever it wrapped, wherever that stands.
COMPILED = re.compile(r"(^|\.)(_orig_mod\.)+")
# How torchvision itself renames what older versions of it saved.
OLDER_NAMES = (
    (re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12])\."), r"\1\2."),
    (re.compile(r"\.mlp\.linear_1\."), ".mlp.0."),
    (re.compile(r"\.mlp\.linear_2\."), ".mlp.3."),
)
# Recomputed by a module's constructor, or counted in training only.
REMADE = re.compile(r"(^|\.)(num_batches_tracked|relative_position_index|relative_coords_table)$")
# What profilers, averaging and preparations for quantization leave beside the numbers.
BOOKKEEPING = re.compile(
    r"(^|\.)(total_ops|total_params|n_averaged|num_batches_tracked|activation_post_process|"
    r"weight_fake_quant|fake_quant|min_val|max_val|eps|histogram|fake_quant_enabled|"
    r"observer_enabled)(\.|$)"
)
# Other parts of a training program's object: losses, measures, and second copies of the model.
BESIDE = re.compile(
    r"(^|[._])(ema|averaged|teacher|criterion|loss(es)?(_fn|_func)?|metrics?|(train|val|test)_\w+|"
    r"accuracy|mixup|normalize|mean|std)([._]|$)",
    re.IGNORECASE,
)
COPY = re.compile(r"(^|[._])(ema|averaged|teacher)([._]|$)|_ema\b", re.IGNORECASE)


@dataclass(frozen=True)
class Recognition:
    """The architectures that a file's tensors fit.

    Attributes:
        candidates: every architecture they fit, best first; more than one where names and shapes
            are the same; none where they fit none.
        nearest: the most similar architectures where none fits, best first.
    """

    candidates: tuple[Candidate, ...]
    nearest: tuple[Candidate, ...]

    @property
    def best(self) -> Candidate:
        """Return the first candidate.

        Raises:
            RequestError: none fits; the sentences say what comes nearest and what keeps it apart.
        """
        if not self.candidates:
            raise refusal(self.nearest)
        return self.candidates[0]


def recognise(tensors: Mapping[str, Shape]) -> Recognition:
    """Return the architectures that a state dict's names and shapes fit, or come near to."""
    ours = _cleaned(tensors)
    compared = [_compare(ours, prefix, architecture) for prefix, architecture in _promising(ours)]
    fitting = [candidate for candidate in compared if candidate.fits]
    if fitting:
        return Recognition(_chosen(fitting), ())
    best_of_each: dict[str, Candidate] = {}
    for candidate in sorted(compared, key=lambda candidate: -candidate.share):
        best_of_each.setdefault(candidate.architecture, candidate)
    return Recognition((), tuple(best_of_each.values())[:MAX_NEAREST])


def sources(names: Iterable[str], candidate: Candidate) -> dict[str, str]:
    """Return, for each of the candidate's own tensor names, the file's name for that tensor.

    Auxiliary classifiers are not among them.
    """
    cleaned = _cleaned_names(names)
    fingerprint = fingerprints()[candidate.architecture]
    aliases = {new: old for old, new in _aliases(candidate.architecture).items()}
    mapped = {}
    for name in fingerprint.shapes:
        for ours in (name, aliases.get(name)):
            if ours is not None and candidate.prefix + ours in cleaned:
                mapped[name] = cleaned[candidate.prefix + ours]
                break
    return {
        name: ours for name, ours in mapped.items() if not name.startswith(fingerprint.auxiliary)
    }


def _cleaned(tensors: Mapping[str, Shape]) -> dict[str, Shape]:
    return {name: tuple(tensors[original]) for name, original in _cleaned_names(tensors).items()}


def _cleaned_names(names: Iterable[str]) -> dict[str, str]:
    """Return today's name of each tensor, and the name it has in the file."""
    cleaned: dict[str, str] = {}
    for original in names:
        name = COMPILED.sub(r"\1", original)
        for pattern, replacement in OLDER_NAMES:
            name = pattern.sub(replacement, name)
        cleaned.setdefault(name, original)
    return cleaned


def _prefixes(names: Iterable[str]) -> list[str]:
    counts: Counter[str] = Counter()
    total = 0
    for name in names:
        total += 1
        parts = name.split(".", MAX_PREFIX_DEPTH)[:-1]
        counts.update(".".join(parts[: depth + 1]) + "." for depth in range(len(parts)))
    common = counts.most_common(MAX_PREFIXES)
    often = [name for name, count in common if count > total * MIN_PREFIX_SHARE]
    return ["", *often]


def _promising(ours: Mapping[str, Shape]) -> list[tuple[str, str]]:
    """Return the pairs of prefix and architecture worth a full comparison, best first."""
    scored = []
    for prefix in _prefixes(ours):
        items = {
            (name.removeprefix(prefix), shape)
            for name, shape in ours.items()
            if name.startswith(prefix)
        }
        for architecture, theirs in _bodies().items():
            common = len(items & theirs)
            if common:
                scored.append((-common / len(items | theirs), len(prefix), prefix, architecture))
    return [(prefix, architecture) for *_, prefix, architecture in sorted(scored)[:MAX_COMPARED]]


@cache
def _bodies() -> dict[str, frozenset[tuple[str, Shape]]]:
    """Return each architecture's names and shapes, without those that may differ."""
    return {
        name: frozenset(
            (key, shape)
            for key, shape in fingerprint.shapes.items()
            if CLASSES not in shape
            and not REMADE.search(key)
            and not key.startswith(fingerprint.auxiliary)
        )
        for name, fingerprint in fingerprints().items()
    }


@cache
def _aliases(architecture: str) -> dict[str, str]:
    """Return other names for the last layer: `classifier.weight` for `classifier.1.weight`.

    People put one linear layer in place of a sequence that holds nothing else but dropout,
    which does nothing in eval mode.
    """
    fingerprint = fingerprints()[architecture]
    aliases = {}
    for head in fingerprint.main_heads:
        layer, _, kind = head.rpartition(".")
        parent = layer.rpartition(".")[0]
        inside = [name for name in fingerprint.shapes if parent and name.startswith(f"{parent}.")]
        linear = len(fingerprint.shapes[f"{layer}.weight"]) == 2
        if linear and inside and all(name.startswith(f"{layer}.") for name in inside):
            aliases[f"{parent}.{kind}"] = head
    return aliases


def _compare(ours: Mapping[str, Shape], prefix: str, architecture: str) -> Candidate:
    fingerprint = fingerprints()[architecture]
    aliases = _aliases(architecture)
    inside = {
        aliases.get(bare, bare): shape
        for bare, shape in (
            (name.removeprefix(prefix), shape)
            for name, shape in ours.items()
            if name.startswith(prefix)
        )
    }
    outside = [name for name in ours if not name.startswith(prefix)]
    classes = _classes(inside, fingerprint)
    image_size = _image_size(inside, fingerprint)
    fitting, missing = set(), []
    for name, shape in fingerprint.shapes.items():
        expected = tuple(classes if side == CLASSES else side for side in shape)
        auxiliary = name.startswith(fingerprint.auxiliary)
        if name in inside and (
            inside[name] == expected
            or auxiliary
            or REMADE.search(name)
            or (name == fingerprint.first and _other_channels(inside[name], expected))
            or (name.endswith("pos_embedding") and image_size is not None)
        ):
            fitting.add(name)
        elif not auxiliary and not REMADE.search(name):
            missing.append(name)
    left_over = [
        f"{prefix}{name}"
        for name in inside
        if name not in fingerprint.shapes and not BOOKKEEPING.search(name)
    ]
    further = [name for name in left_over if len(ours.get(name, ())) >= 2]
    further += [
        name
        for name in outside
        if len(ours[name]) >= 2 and not BESIDE.search(name) and not BOOKKEEPING.search(name)
    ]
    union = len(fingerprint.shapes.keys() | inside.keys())
    return Candidate(
        architecture=architecture,
        title=title(architecture),
        classes=max(classes, 0),
        image_size=image_size,
        channels=_channels(inside.get(fingerprint.first, ())),
        prefix=prefix,
        share=len(fitting) / union,
        missing=tuple(missing),
        left_over=tuple(left_over + outside),
        further_layers=tuple(further),
        notes=_notes(prefix, fingerprint, inside, [*left_over, *outside]),
    )


def title(architecture: str) -> str:
    """Return an architecture's name as people write it."""
    return catalogue()[f"torchvision/{architecture}"].title


def _classes(inside: Mapping[str, Shape], fingerprint: Fingerprint) -> int:
    """Return how many classes the last layer has, or `CLASSES` where that is not known."""
    for head in fingerprint.main_heads:
        shape, expected = inside.get(head, ()), fingerprint.shapes[head]
        if len(shape) == len(expected):
            return shape[expected.index(CLASSES)]
    return CLASSES


def _image_size(inside: Mapping[str, Shape], fingerprint: Fingerprint) -> int | None:
    """Return the size a vision transformer's positions are laid out for: a square of patches."""
    name = next((name for name in fingerprint.shapes if name.endswith("pos_embedding")), None)
    if name is None:
        return None
    shape, expected = inside.get(name, ()), fingerprint.shapes[name]
    if len(shape) != 3 or shape[0] != 1 or shape[2] != expected[2]:
        return None
    side = round(max(shape[1] - 1, 0) ** 0.5)
    patch = fingerprint.shapes[fingerprint.first][2]
    return side * patch if side and side * side == shape[1] - 1 else None


def _channels(first: Shape) -> int:
    return first[1] if len(first) == 4 else 3


def _other_channels(shape: Shape, expected: Shape) -> bool:
    return len(shape) == 4 and (shape[0], *shape[2:]) == (expected[0], *expected[2:])


def _notes(
    prefix: str, fingerprint: Fingerprint, inside: Mapping[str, Shape], left_over: list[str]
) -> tuple[str, ...]:
    notes = []
    if prefix:
        notes.append(f"Every name began with {shown(prefix)}, which was taken off.")
    if any(name.startswith(fingerprint.auxiliary) for name in inside):
        notes.append("Auxiliary classifiers were left out: they are of use in training only.")
    if fingerprint.auxiliary:
        notes.append(
            "Pictures are rescaled inside the model, as they are with the published weights; a "
            "file of weights does not say whether its model does."
        )
    if left_over:
        notes.append(f"Not part of the architecture, and left out: {listed(left_over)}.")
    return tuple(notes)


def _chosen(fitting: list[Candidate]) -> tuple[Candidate, ...]:
    """Return the fitting candidates of one prefix: the model itself before a copy of it."""
    ranked = sorted(fitting, key=lambda candidate: bool(COPY.search(candidate.prefix)))
    prefix = ranked[0].prefix
    return tuple(
        sorted(
            (candidate for candidate in fitting if candidate.prefix == prefix),
            key=lambda candidate: -candidate.share,
        )
    )
