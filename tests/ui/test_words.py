"""Figures read as a person would say them."""

import pytest

from ui import words


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.megabytes(2_690_000), "2.69 MB"),
        (words.megabytes(48_060_000), "48.1 MB"),
        (words.megabytes(253_700_000), "254 MB"),
        (words.milliseconds(9.996), "10.0 ms"),
        (words.percent(0.9335), "93.3 %"),
        (words.points(-0.004), "−0.4 points"),
        (words.points(0.0121), "+1.2 points"),
        (words.points(-0.0001), "0.0 points"),
        (words.faster(4.13), "4.1× faster"),
        (words.faster(0.42), "2.4× slower"),
        (words.faster(1.01), "as fast"),
        (words.smaller(12.4), "12× smaller"),
        (words.time_left(None), ""),
        (words.time_left(14.2), "about 14 s left"),
        (words.time_left(0.1), "about 1 s left"),
        (words.time_left(150), "about 2 min left"),
        (words.day("2026-11-04T12:00:00+00:00"), "4 Nov 2026"),
        (words.count(1, "variant"), "1 variant"),
        (words.count(2_000, "image"), "2,000 images"),
    ],
)
def test_words(said: str, expected: str) -> None:
    assert said == expected
