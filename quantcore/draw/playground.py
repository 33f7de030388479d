"""The answers of every variant to one picture, as HTML: a summary, then a card for each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from quantcore import wording
from quantcore.decide import references
from quantcore.draw import marks, titles
from quantcore.draw.gallery import address
from quantcore.draw.templating import render
from quantcore.engine import GUESSES
from quantcore.playground import Answer, PlaygroundView, Seen, Unanswered
from quantcore.schema import Guess, VariantResult

# More names than this make the sentence too long; the cards have them all.
MAX_NAMED = 4
# Below this share the surest class is hardly more than a guess.
SURE = 0.5


@dataclass(frozen=True)
class VariantAnswer:
    """One variant with its answer to the picture.

    Attributes:
        base: the answer of its float32; None where that was not to be had.
        ship: whether the verdict recommends it.
    """

    row: VariantResult
    name: str
    answer: Answer | Unanswered
    base: Answer | None
    ship: bool

    @property
    def is_float(self) -> bool:
        """Return whether it is the reference itself."""
        return self.row.is_float

    @property
    def first(self) -> Guess | None:
        """Return the class it names; None where it did not answer."""
        return self.answer.guesses[0] if isinstance(self.answer, Answer) else None

    @property
    def differs(self) -> bool:
        """Return whether it names another class than its float32."""
        first, base = self.first, self.base
        return first is not None and base is not None and first.index != base.guesses[0].index


def variant_answers(
    view: PlaygroundView, rows: Sequence[VariantResult], ship: str | None
) -> list[VariantAnswer]:
    """Return the variants that have answered so far or could not, in the rows' order."""
    answers = {answer.key: answer for answer in view.answers}
    bases = references(rows)
    return [
        VariantAnswer(row, name, answers[row.key], _base(row, bases, answers), row.key == ship)
        for row, name in zip(rows, titles.names(rows), strict=True)
        if row.key in answers
    ]


def _base(
    row: VariantResult,
    bases: Mapping[str, VariantResult],
    answers: Mapping[str, Answer | Unanswered],
) -> Answer | None:
    base = bases.get(row.key)
    answer = answers.get(base.key) if base else None
    return answer if isinstance(answer, Answer) else None


def summary(variants: Sequence[VariantAnswer], label: str | None) -> tuple[str, list[str]]:
    """Return one sentence that sums the answers up, and further ones that say more.

    Args:
        variants: every variant with its answer.
        label: the right class; None where nobody knows.
    """
    answered = [one for one in variants if one.first is not None]
    if not answered:
        return "No variant could be asked", ["The cards say why, and what to do."]
    more = [_shipped(one) for one in answered if one.ship and not one.is_float and one.base]
    more += [_truth(answered, label)] if label is not None else []
    silent = len(variants) - len(answered)
    more += [f"{wording.count(silent, 'variant')} could not be asked; see below."] if silent else []
    return _headline(answered), more


def _headline(answered: Sequence[VariantAnswer]) -> str:
    named = {one.first.label for one in answered if one.first}
    if len(named) == 1:
        (label,) = named
        if len(answered) == 1:
            return f"{answered[0].name} names {label}"
        every = "Both" if len(answered) == 2 else f"All {len(answered)}"
        return f"{every} variants name {label}"
    different = [one for one in answered if one.differs]
    if not any(one.base for one in answered):
        return f"The variants disagree: {wording.joined(_counts(answered))}"
    if not different:
        return "Every variant names what its float32 names"
    return _contradictions(different)


def _contradictions(different: Sequence[VariantAnswer]) -> str:
    """Return the variants that differ from float32: `Static on QNNPACK names Bag instead (…)`."""
    by_class: dict[tuple[str, str, float], list[str]] = {}
    for one in different:
        assert one.first is not None
        assert one.base is not None
        base = one.base.guesses[0]
        by_class.setdefault((one.first.label, base.label, base.share), []).append(one.name)
    parts = [
        f"{_names(names)} {'names' if len(names) == 1 else 'name'} {label}"
        for (label, _, _), names in by_class.items()
    ]
    bases = dict.fromkeys(f"{base}, {wording.percent(share, 0)}" for _, base, share in by_class)
    instead = f" instead (float32: {next(iter(bases))})" if len(bases) == 1 else ""
    return f"{wording.joined(parts)}{instead or ', not what float32 names'}"


def _names(names: Sequence[str]) -> str:
    if len(names) > MAX_NAMED:
        return wording.count(len(names), "variant")
    return wording.joined(list(names))


def _counts(answered: Sequence[VariantAnswer]) -> list[str]:
    counts: dict[str, int] = {}
    for one in answered:
        assert one.first is not None
        counts[one.first.label] = counts.get(one.first.label, 0) + 1
    ordered = sorted(counts.items(), key=lambda pair: -pair[1])
    return [f"{wording.count(count, 'variant')} for {label}" for label, count in ordered]


def _shipped(one: VariantAnswer) -> str:
    """Return in words how the recommended variant and float32 differ."""
    first, base = one.first, one.base
    assert first is not None
    assert base is not None
    assert isinstance(one.answer, Answer)
    before, share = base.guesses[0], wording.percent(first.share, 0)
    if one.differs:
        tail = " Neither is sure." if max(first.share, before.share) < SURE else ""
        return (
            f"The recommended {one.name} names {first.label}, {share} sure, where float32 names "
            f"{before.label}, {wording.percent(before.share, 0)} sure.{tail}"
        )
    return (
        f"The recommended {one.name} is {share} sure, float32 {wording.percent(before.share, 0)}; "
        f"{_order(one.answer.guesses, base.guesses)}."
    )


def _order(guesses: Sequence[Guess], before: Sequence[Guess]) -> str:
    """Return in words whether two variants name the same classes in the same order."""
    ours, theirs = [guess.index for guess in guesses], [guess.index for guess in before]
    count = "five" if len(ours) == GUESSES else str(len(ours))
    if ours == theirs:
        return f"their first {count} classes are the same, in the same order"
    if set(ours) == set(theirs):
        return f"their first {count} classes are the same, in another order"
    shared = len(set(ours) & set(theirs))
    return f"{shared} of their first {count} classes are the same"


def _truth(answered: Sequence[VariantAnswer], label: str) -> str:
    right = sum(one.first is not None and one.first.label == label for one in answered)
    if right == len(answered):
        return f"{label} is right."
    who = "no variant names" if not right else f"{right} of {len(answered)} name"
    return f"The right answer is {label}; {who} it."


def summary_html(summary: tuple[str, Sequence[str]]) -> Markup:
    """Return the summary as HTML."""
    headline, sentences = summary
    return render("summary.html", headline=headline, sentences=sentences)


def picture(seen: Seen, name: str) -> Markup:
    """Return the picture as people see it, and beside it as the model does."""
    width, height = seen.sides
    images = (
        _image(seen.shown, name, f"{name}, {width:,} × {height:,} px"),
        _image(seen.by_model, "What the model sees", "What the model sees"),
    )
    return render("seen_picture.html", images=images, note=seen.note)


def _image(png: bytes, alt: str, caption: str) -> dict[str, str]:
    return {"address": address(png), "alt": alt, "caption": caption}


def cards(variants: Sequence[VariantAnswer]) -> Markup:
    """Return a card for each variant: float32, the recommended one, differing ones, the others."""
    return render("answers.html", variants=[_card(each) for each in sorted(variants, key=_rank)])


def _rank(variant: VariantAnswer) -> tuple[bool, bool, bool, bool]:
    return not variant.is_float, not variant.ship, variant.first is None, not variant.differs


def _card(variant: VariantAnswer) -> dict[str, object]:
    row, answer = variant.row, variant.answer
    tags = {"reference": variant.is_float, "recommended": variant.ship, "differs": variant.differs}
    head = {
        "mark": marks.glyph(row.workflow, row.backend),
        "name": variant.name,
        "tags": [tag for tag, holds in tags.items() if holds],
    }
    if isinstance(answer, Unanswered):
        return {**head, "guesses": [], "unanswered": f"{answer.reason} {answer.remedy}"}
    of = f" for {row.batch} pictures" if row.batch > 1 else ""
    return {
        **head,
        "guesses": [_guess(guess) for guess in answer.guesses],
        "latency": wording.figure(answer.latency_ms, "ms"),
        "usual_latency": f"{wording.figure(row.latency_ms.p50, 'ms')}{of}",
    }


def _guess(guess: Guess) -> dict[str, str]:
    return {
        "label": guess.label,
        "share": wording.percent(guess.share, 0 if guess.share >= 0.01 else 1),
        "width": f"{100 * guess.share:.0f}%",
    }
