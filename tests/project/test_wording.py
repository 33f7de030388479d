"""Figures read as a person would say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcore import wording


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (wording.figure(2.69, "MB"), "2.69 MB"),
        (wording.figure(48.06, "MB"), "48.1 MB"),
        (wording.figure(253.7, "MB"), "254 MB"),
        (wording.figure(1_253.7, "MB"), "1,254 MB"),
        (wording.figure(9.996, "ms"), "10.0 ms"),
        (wording.percent(0.9335), "93.3 %"),
        (wording.gained(-0.4), "−0.4 points"),
        (wording.gained(1.21), "+1.2 points"),
        (wording.gained(-0.01), "0.0 points"),
        (wording.gained(0.01), "0.0 points"),
        (wording.times(0.4231), "0.42×"),
        (wording.times(4.13), "4.1×"),
        (wording.times(12.4), "12×"),
    ],
)
def test_figures_beside_others_of_their_kind(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (wording.megabytes(2_690_000), "2.7 MB"),
        (wording.megabytes(12_300), "12 kB"),
        (wording.megabytes(700), "700 bytes"),
        (wording.milliseconds(9.996), "10 ms"),
        (wording.points(1.0), "1 point"),
        (wording.faster(4.13), "4.1× faster"),
        (wording.faster(0.42), "2.4× slower"),
        (wording.faster(1.01), "1 % faster"),
        (wording.faster(1.001), "as fast"),
        (wording.smaller(3.6), "3.6× smaller"),
        (wording.smaller(0.5), "2× larger"),
        (wording.smaller(1.02), "2 % smaller"),
        (wording.smaller(1.001), "as large"),
        (wording.accurate(0.4), "0.4 points less accurate"),
        (wording.accurate(-0.001), "equally accurate"),
        (wording.capital("a B"), "A B"),
        (wording.capital(""), ""),
        (wording.joined(["a"]), "a"),
        (wording.joined(["a", "b", "c"]), "a, b and c"),
        (wording.time_left(None), ""),
        (wording.time_left(14.2), "about 14 s left"),
        (wording.time_left(0.1), "about 1 s left"),
        (wording.time_left(150), "about 2 min left"),
        (wording.about(89), "about 89 s"),
        (wording.about(6_000), "about 2 h"),
        (wording.count(1, "class", "classes"), "1 class"),
        (wording.count(2_000, "class", "classes"), "2,000 classes"),
        (wording.until(1_799), "within the hour"),
        (wording.until(5 * 3_600), "in 5 h"),
        (wording.until(6 * 86_400 + 60), "in 6 days"),
        (wording.ago(59), "just now"),
        (wording.ago(3_599), "59 min ago"),
        (wording.ago(86_399), "23 h ago"),
        (wording.ago(86_400), "1 day ago"),
        (wording.ago(1_000_000), "11 days ago"),
        (wording.day("2026-11-04T12:00:00+00:00"), "4 Nov 2026"),
        (wording.day("some time ago"), "some time ago"),
        (wording.count(1, "variant"), "1 variant"),
        (wording.count(2_000, "image"), "2,000 images"),
        (wording.count_of(4_321), "about 4,400"),
        (wording.count_of(2_000_000), "more than a million"),
    ],
)
def test_figures_in_sentences(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.604, "3.6"), (0.4, "0.4"), (0.0512, "0.051"), (36.4, "36"), (1_949, "1,900")],
)
def test_two_significant_digits(value: float, text: str) -> None:
    assert wording.digits(value) == text


@given(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-6))
def test_enough_is_never_too_little_and_not_much_more(value: float) -> None:
    assert value <= wording.enough(value) <= value + abs(value) * 0.101
