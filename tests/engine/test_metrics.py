from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from quantcore.backends import fidelity
from quantcore.engine import metrics
from quantcore.errors import QuantcoreError

RNG = np.random.default_rng


@given(st.lists(st.floats(0.01, 1e4), min_size=1, max_size=20))
def test_median_and_p90_are_numpys(samples):
    expected = np.percentile(samples, [50, 90])
    assert metrics.median_and_p90(samples) == pytest.approx(tuple(expected))


def test_deviation_is_that_of_normal_errors():
    errors = RNG(1).normal(0, 0.3, 20_000)
    assert metrics.deviation(errors) == pytest.approx(0.3, rel=0.03)


def test_named_counts_the_classes():
    named = metrics.named(np.eye(4)[[0, 0, 0, 2]])
    assert (named.classes, named.most) == (2, 0.75)


def test_chance_is_what_the_most_frequent_class_gets():
    assert metrics.accuracy([0, 1, 1, 1], [0, 0, 0, 1]).chance == 0.75


@pytest.mark.parametrize("degrees", [*range(1, 41), 99, 1_000])
def test_student_t_is_scipys(degrees):
    assert metrics.student_t(degrees) == pytest.approx(stats.t.ppf(0.975, degrees), rel=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 3, 4, 5, 34, 400])
def test_student_p_is_scipys(freedom):
    t = np.array([[-3.0, 0.0], [0.5, 6.0]])
    expected = 2 * stats.t.sf(np.abs(t), freedom)
    assert metrics.student_p(t, freedom) == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="degree"):
        metrics.student_p(t, 0)


@given(st.integers(1, 20_000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_is_scipys(case):
    right, images = case
    expected = stats.binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert metrics.wilson(right, images) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("case", [(0, 0), (3, 2), (-1, 2)])
def test_wilson_refuses_counts_that_cannot_be(case):
    with pytest.raises(ValueError, match="wilson"):
        metrics.wilson(*case)


def test_accuracy_counts_the_right_ones():
    answer = metrics.accuracy(np.array([0, 1, 2, 2]), np.array([0, 1, 2, 0]))
    assert (answer.top1, answer.images) == (0.75, 4)
    assert (answer.low, answer.high) == metrics.wilson(3, 4)


def test_accuracy_refuses_logits_and_nothing():
    with pytest.raises(ValueError, match="accuracy takes"):
        metrics.accuracy(np.zeros((4, 10)), np.zeros(4))
    with pytest.raises(ValueError, match="wilson"):
        metrics.accuracy(np.zeros(0), np.zeros(0))


def test_agreement_is_the_share_of_equal_classes():
    one = np.array([[1.0, 2.0], [5.0, 0.0], [0.0, 1.0]])
    other = np.array([[0.0, 9.0], [0.0, 5.0], [2.0, 3.0]], dtype=np.float32)
    assert fidelity.agreement(one, other) == pytest.approx(2 / 3)


def test_sqnr_finds_the_noise_that_was_added():
    rng = RNG(4)
    signal = rng.normal(0, 1, (4_000, 10))
    noisy = signal + rng.normal(0, 0.1, signal.shape)
    assert fidelity.sqnr_db(signal, noisy) == pytest.approx(20.0, abs=0.1)


def test_sqnr_has_no_value_without_noise_or_signal():
    logits = np.ones((2, 3))
    assert fidelity.sqnr_db(logits, logits) is None
    assert fidelity.sqnr_db(np.zeros((2, 3)), logits) is None


@pytest.mark.parametrize("figure", [fidelity.agreement, fidelity.sqnr_db])
def test_outputs_that_are_not_numbers_are_named(figure):
    with pytest.raises(QuantcoreError, match="not numbers"):
        figure(np.ones((2, 3)), np.array([[1, np.nan, 2], [1, 2, 3]]))
    with pytest.raises(ValueError, match="one shape"):
        figure(np.ones((2, 3)), np.ones((3, 3)))


@settings(deadline=None)
@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_mcnemar_is_the_exact_binomial_test(only_a, only_b):
    expected = stats.binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert metrics.mcnemar_counts(only_a, only_b) == pytest.approx(expected, rel=1e-8, abs=1e-300)


def test_mcnemar_of_very_many_pictures():
    expected = stats.binomtest(49_000, 100_000).pvalue
    assert metrics.mcnemar_counts(49_000, 51_000) == pytest.approx(expected, rel=1e-7)


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=60))
def test_mcnemar_is_symmetric_and_ignores_pictures_both_treat_alike(pairs):
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    assert metrics.mcnemar(a, b) == metrics.mcnemar(b, a)
    differing = a != b
    assert metrics.mcnemar(a[differing], b[differing]) == metrics.mcnemar(a, b)


def test_mcnemar_refuses_different_pictures():
    with pytest.raises(ValueError, match="mcnemar"):
        metrics.mcnemar(np.ones(3, bool), np.ones(4, bool))


def test_an_accuracy_says_which_pictures_are_right() -> None:
    rng = np.random.default_rng(5)
    for images in (1, 7, 8, 2_000):
        labels, named = rng.integers(0, 3, images), rng.integers(0, 3, images)
        found = metrics.accuracy(named, labels)
        right = metrics.which_right(found)
        assert right is not None
        assert np.array_equal(right, named == labels)


@pytest.mark.parametrize("text", ["", "no base64", "AA==", "AAAAAAAA"])
def test_a_text_that_is_of_other_pictures_says_nothing(text: str) -> None:
    found = metrics.accuracy(np.zeros(20, int), np.zeros(20, int))
    assert metrics.which_right(replace(found, right=text)) is None
