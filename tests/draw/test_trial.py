"""What is said of one picture, in words."""

from dataclasses import replace

import pytest

from quantcore.draw import trial as drawn
from quantcore.playground import Answer, PlaygroundView, Seen, Unanswered
from quantcore.schema import Guess, VariantResult
from tests.support import fixtures

CLASSES = ("Bag", "Coat", "Dress", "Shirt", "Boot", "Sandal")
FLOAT = fixtures.float32()
STATIC = [fixtures.result("static", backend) for backend in fixtures.BACKENDS]
QAT = [fixtures.result("qat", backend) for backend in fixtures.BACKENDS]


def says(row: VariantResult, *names: str, share: float = 0.9) -> Answer:
    order = [*names, *(name for name in CLASSES if name not in names)][:5]
    shares = (share, *([(1 - share) / 4] * 4))
    guesses = tuple(
        Guess(CLASSES.index(name), name, part) for name, part in zip(order, shares, strict=True)
    )
    return Answer(row.key, guesses, 1.0)


def told(
    *answers: Answer | Unanswered, ship: str | None = None, label: str | None = None
) -> tuple[str, list[str]]:
    known = {row.key: row for row in (FLOAT, *STATIC, *QAT)}
    rows = [known[answer.key] for answer in answers]
    view = PlaygroundView(len(answers), answers, state="done")
    return drawn.summary(drawn.asked(view, rows, ship), label)


def test_agreement_is_one_sentence() -> None:
    assert told(says(FLOAT, "Bag"))[0] == "Float32 names Bag"
    assert told(says(FLOAT, "Bag"), says(STATIC[0], "Bag"))[0] == "Both variants name Bag"
    everyone = [says(row, "Bag") for row in (FLOAT, *STATIC)]
    assert told(*everyone) == ("All 5 variants name Bag", [])


def test_who_contradicts_float32_is_named_by_class_and_many_are_counted() -> None:
    answers = [says(FLOAT, "Bag"), *(says(row, "Coat") for row in STATIC[:2])]
    assert told(*answers)[0] == (
        "Static on x86 and Static on FBGEMM name Coat instead (float32: Bag, 90 %)"
    )
    answers += [says(QAT[0], "Boot")]
    assert "name Coat and QAT on x86 names Boot instead (float32: Bag, 90 %)" in told(*answers)[0]
    many = [says(FLOAT, "Bag"), *(says(row, "Coat") for row in (*STATIC, QAT[0]))]
    assert told(*many)[0] == "5 variants name Coat instead (float32: Bag, 90 %)"


def test_without_float32_the_variants_are_held_against_each_other() -> None:
    gone = Unanswered(FLOAT.key, "Gone.", "Measure it.")
    answers = [gone, *(says(row, "Bag") for row in STATIC[:2]), says(QAT[0], "Coat")]
    assert told(*answers) == (
        "The variants disagree: 2 variants for Bag and 1 variant for Coat",
        ["1 variant could not be asked; see below."],
    )
    assert told(gone)[0] == "No variant could be asked"


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("Bag", "Coat"), "their first five classes are the same, in the same order"),
        (("Bag", "Dress"), "their first five classes are the same, in another order"),
        (("Bag", "Sandal"), "4 of their first five classes are the same"),
    ],
)
def test_the_recommended_variant_is_held_against_float32(names: tuple[str, ...], said: str) -> None:
    ship = STATIC[0]
    _, (sentence,) = told(says(FLOAT, "Bag"), says(ship, *names, share=0.7), ship=ship.key)
    assert sentence == f"The recommended Static on x86 is 70 % sure, float32 90 %; {said}."


def test_where_the_recommended_variant_differs_it_is_said_whether_either_is_sure() -> None:
    ship = STATIC[0]
    unsure = says(FLOAT, "Bag", share=0.4), says(ship, "Coat", share=0.3)
    _, (sentence,) = told(*unsure, ship=ship.key)
    assert sentence.endswith("where float32 names Bag, 40 % sure. Neither is sure.")
    _, nothing = told(says(FLOAT, "Bag"), ship=FLOAT.key)
    assert nothing == []


@pytest.mark.parametrize(
    ("label", "said"),
    [
        ("Bag", "The right answer is Bag; 1 of 2 name it."),
        ("Boot", "The right answer is Boot; no variant names it."),
    ],
)
def test_the_right_answer_is_said_where_it_is_known(label: str, said: str) -> None:
    assert told(says(FLOAT, "Bag"), says(STATIC[0], "Coat"), label=label)[1] == [said]


def test_names_from_outside_stand_as_they_are() -> None:
    view = PlaygroundView(1, (Answer(FLOAT.key, (Guess(0, "<b>&", 0.9999),), 1.0),), state="done")
    asked = drawn.asked(view, [FLOAT], None)
    for html in (drawn.cards(asked), drawn.headline(drawn.summary(asked, None))):
        assert "&lt;b&gt;&amp;" in html
    seen = Seen(b"", b"", (3_000, 20), note="An <i>animation</i>.")
    assert "3,000 × 20 px" in drawn.picture(seen, "Mine")
    assert "&lt;i&gt;" in drawn.picture(seen, "Mine")


def test_the_order_of_cards_is_float32_the_recommended_who_differs_the_rest_who_is_silent() -> None:
    rows = [STATIC[3], STATIC[0], STATIC[1], STATIC[2], FLOAT]
    answers = (
        Unanswered(rows[0].key, "Gone.", "Measure it."),
        says(rows[1], "Bag"),
        says(rows[2], "Coat"),
        says(rows[3], "Bag"),
        says(rows[4], "Bag"),
    )
    view = PlaygroundView(5, answers, state="done")
    html = drawn.cards(drawn.asked(view, rows, ship=rows[3].key))
    order = ["Float32", "oneDNN", "FBGEMM", "x86", "QNNPACK"]
    places = [html.index(f"{name}</b>") for name in order]
    assert places == sorted(places)
    assert "measured median" in html
    eight = replace(FLOAT, batch=8)
    assert "for 8 pictures" in drawn.cards(drawn.asked(view, [eight], None))
