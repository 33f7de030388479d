"""A loss looks like a loss wherever it stands, and one picture like one picture."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcore.decide import differences
from quantcore.draw import effects, gallery, marks

CLASSES = 4
NAMES = ["Shirt", "Coat", "Bag", "Boot"]
COUNTS = st.lists(st.integers(-10_000, 10_000), min_size=1, max_size=30)
NAMED = st.lists(st.tuples(*[st.integers(0, CLASSES - 1)] * 3), min_size=1, max_size=200)
# Of the style sheet: what a cell's class is called, and its sign.
CELL = re.compile(
    r'<td class="qw-(loss|gain|same)( qw-right)?"'
    r'(?: style="--share:([\d.e-]+)" title="([^"]*)")?>(?:<span aria-hidden="true">(.)([\d,]+))?'
)


THEMES = ("light", "dark")
STYLE = marks.STYLE.read_text()
TEXT_CONTRAST, SHAPE_CONTRAST = 4.5, 3.0


def logits(named: list[int]) -> "np.ndarray":
    return np.eye(CLASSES, dtype=np.float32)[named]


@given(COUNTS)
def test_the_scale_is_symmetric_and_holds_every_change(counts: list[int]) -> None:
    full = effects.full_scale(counts)
    for count in counts:
        drawn, opposite = effects.effect(count, full), effects.effect(-count, full)
        assert 0 <= drawn.share <= 1
        assert (drawn.share, drawn.pictures) == (opposite.share, opposite.pictures)
        assert drawn.kind == ("loss" if count < 0 else "gain" if count else "same")
        assert (drawn.arrow != opposite.arrow) == (count != 0)
    assert {effects.effect(count, full).share for count in (-full, full)} == {1.0}


@given(COUNTS)
def test_one_picture_never_looks_like_a_catastrophe(counts: list[int]) -> None:
    full = effects.full_scale(counts)
    assert effects.effect(-1, full).share <= 1 / effects.LEAST_FULL
    assert full == effects.LEAST_FULL or full in map(abs, counts)


@given(NAMED)
def test_every_cell_is_drawn_by_what_it_does_to_accuracy(
    pictures: list[tuple[int, int, int]],
) -> None:
    """Fewer right is a loss, more mistakes is a loss; the rest are gains."""
    labels, before, after = (list(each) for each in zip(*pictures, strict=True))
    change = differences.confusion_change(logits(before), logits(after), np.array(labels))
    cells = CELL.findall(gallery.confusion(change, NAMES))
    assert len(cells) == CLASSES**2
    for (i, j), (kind, is_right, share, said, arrow, count) in zip(
        np.ndindex(CLASSES, CLASSES), cells, strict=True
    ):
        more = int(change[i, j])
        assert bool(is_right) == (i == j)
        if not more:
            assert (kind, share, said, arrow) == ("same", "", "", "")
            continue
        is_loss = more < 0 if i == j else more > 0
        assert (kind, arrow) == (("loss", "▼") if is_loss else ("gain", "▲"))
        assert int(count) == abs(more)
        assert said == f"{abs(more)} {'more' if more > 0 else 'fewer'}: {NAMES[i]} named {NAMES[j]}"


def test_a_lost_picture_is_a_loss_on_the_diagonal_and_where_it_went() -> None:
    change = np.array([[-1, 1], [0, 0]])
    cells = CELL.findall(gallery.confusion(change, NAMES[:2]))
    assert [cell[0] for cell in cells] == ["loss", "loss", "same", "same"]
    assert [cell[2] for cell in cells[:2]] == ["0.1", "0.1"]


@pytest.mark.parametrize(
    ("after", "said"), [([0, 0, 1], "▼ 1 fewer right"), ([0, 0, 0], "▼ 2 fewer right")]
)
def test_a_class_that_lost_pictures_is_a_loss_in_words_sign_and_side(
    after: list[int], said: str
) -> None:
    labels = np.array([0, 1, 1])
    changes = differences.class_changes(logits([0, 1, 1]), logits(after), labels)
    html = gallery.classes(changes, NAMES, "Static on x86")
    assert html.count('<i class="qw-loss"') == 1
    assert said in html
    assert "as many right" in html
    assert "A bar is full at 10 images." in html


def test_both_have_a_key_in_plain_words() -> None:
    labels = np.array([0, 1])
    changes = differences.class_changes(logits([0, 1]), logits([1, 1]), labels)
    for html in (
        gallery.classes(changes, NAMES, "Static"),
        gallery.confusion(np.array([[-1, 1], [0, 0]]), NAMES[:2]),
    ):
        key = html.partition("</ul>")[0]
        assert key.index("▼") < key.index("fewer right") < key.index("▲") < key.index("more right")


def test_the_greatest_changes_are_said_in_words() -> None:
    change = np.array([[-2, 3, -1], [0, 0, 0], [0, 0, 0]])
    text = gallery.confusion_text(change, NAMES[:3])
    assert text == "3 more: Shirt named Coat; 1 fewer: Shirt named Bag"
    assert "No class" in gallery.confusion_text(np.zeros((2, 2), dtype=int), NAMES[:2])


def colour(name: str, theme: str) -> "np.ndarray":
    """Return a colour of the style sheet as red, green and blue, 0 to 1."""
    both = re.search(rf"--qw-{name}: light-dark\(#(\w+), #(\w+)\)", STYLE)
    assert both
    code = both[1 + THEMES.index(theme)]
    return np.array([int(code[at : at + 2], 16) for at in (0, 2, 4)]) / 255


def contrast(one: "np.ndarray", other: "np.ndarray") -> float:
    """Return WCAG 2's contrast ratio of two colours."""
    lights = []
    for each in (one, other):
        linear = np.where(each <= 0.04045, each / 12.92, ((each + 0.055) / 1.055) ** 2.4)
        lights.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(lights) / min(lights)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("kind", ["loss", "gain"])
def test_bars_stand_out_and_the_fullest_cell_can_be_read(theme: str, kind: str) -> None:
    """A browser's checker does not look behind the text of a cell."""
    found = re.search(r"opacity: calc\(([\d.]+) \+ ([\d.]+) \* var\(--share\)\)", STYLE)
    assert found
    opacity, ground = sum(map(float, found.groups())), colour("ground", theme)
    full = opacity * colour(kind, theme) + (1 - opacity) * ground
    assert contrast(colour("text", theme), full) >= TEXT_CONTRAST
    assert contrast(colour(kind, theme), colour("soft", theme)) >= SHAPE_CONTRAST
