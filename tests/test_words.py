"""Figures read as a person would say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcore import words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.figure(2.69, "MB"), "2.69 MB"),
        (words.figure(48.06, "MB"), "48.1 MB"),
        (words.figure(253.7, "MB"), "254 MB"),
        (words.figure(1_253.7, "MB"), "1,254 MB"),
        (words.figure(9.996, "ms"), "10.0 ms"),
        (words.percent(0.9335), "93.3 %"),
        (words.gained(-0.4), "−0.4 points"),
        (words.gained(1.21), "+1.2 points"),
        (words.gained(-0.01), "0.0 points"),
        (words.gained(0.01), "0.0 points"),
        (words.times(0.4231), "0.42×"),
        (words.times(4.13), "4.1×"),
        (words.times(12.4), "12×"),
    ],
)
def test_figures_beside_others_of_their_kind(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.megabytes(2_690_000), "2.7 MB"),
        (words.megabytes(12_300), "12 kB"),
        (words.megabytes(700), "700 bytes"),
        (words.milliseconds(9.996), "10 ms"),
        (words.points(1.0), "1 point"),
        (words.faster(4.13), "4.1× faster"),
        (words.faster(0.42), "2.4× slower"),
        (words.faster(1.01), "1 % faster"),
        (words.faster(1.001), "as fast"),
        (words.smaller(3.6), "3.6× smaller"),
        (words.smaller(0.5), "2× larger"),
        (words.smaller(1.02), "2 % smaller"),
        (words.smaller(1.001), "as large"),
        (words.accurate(0.4), "0.4 points less accurate"),
        (words.accurate(-0.001), "equally accurate"),
        (words.joined(["a"]), "a"),
        (words.joined(["a", "b", "c"]), "a, b and c"),
        (words.time_left(None), ""),
        (words.time_left(14.2), "about 14 s left"),
        (words.time_left(0.1), "about 1 s left"),
        (words.time_left(150), "about 2 min left"),
        (words.about(89), "about 89 s"),
        (words.about(6_000), "about 2 h"),
        (words.count(1, "class", "classes"), "1 class"),
        (words.count(2_000, "class", "classes"), "2,000 classes"),
        (words.until(1_799), "within the hour"),
        (words.until(5 * 3_600), "in 5 h"),
        (words.until(6 * 86_400 + 60), "in 6 days"),
        (words.ago(59), "just now"),
        (words.ago(3_599), "59 min ago"),
        (words.ago(86_399), "23 h ago"),
        (words.ago(86_400), "1 day ago"),
        (words.ago(1_000_000), "11 days ago"),
        (words.day("2026-11-04T12:00:00+00:00"), "4 Nov 2026"),
        (words.day("some time ago"), "some time ago"),
        (words.count(1, "variant"), "1 variant"),
        (words.count(2_000, "image"), "2,000 images"),
        (words.count_of(4_321), "about 4,400"),
        (words.count_of(2_000_000), "more than a million"),
    ],
)
def test_figures_in_sentences(said: str, expected: str) -> None:
    assert said == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (3.604, "3.6"), (0.4, "0.4"), (0.0512, "0.051"), (36.4, "36"), (1_949, "1,900")],
)
def test_two_significant_digits(value: float, text: str) -> None:
    assert words.digits(value) == text


@given(st.floats(-1e9, 1e9).filter(lambda x: x == 0 or abs(x) > 1e-6))
def test_enough_is_never_too_little_and_not_much_more(value: float) -> None:
    assert value <= words.enough(value) <= value + abs(value) * 0.101
