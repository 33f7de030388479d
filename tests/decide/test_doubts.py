"""What a verdict must not claim: thin evidence, degenerate answers, a busy machine, trifles."""

from dataclasses import replace

import pytest

from quantcore import decide
from quantcore.decide import Budgets, Smallest
from quantcore.schema import Named
from tests.support import fixtures


def _verdict(*rows, budgets=None, missing=0):
    limits = budgets or Budgets()
    return decide.recommend(decide.weigh(rows, smallest=limits.smallest), limits, missing)


def _busy(row):
    return replace(row, machine_busy=True, speedup=replace(row.speedup, settled=False))


def _naming(row, classes, most=1.0):
    return replace(row, named=Named(classes, most))


def _on(row, images, top1, chance):
    accuracy = fixtures._accuracy(top1, images)
    return replace(row, accuracy=replace(accuracy, chance=chance), fidelity_images=images)


def test_a_busy_row_loses_but_does_not_win():
    fast, slow = fixtures.result("static", "x86", ratio=4.0), fixtures.result("static", "fbgemm")
    assert _verdict(fixtures.float32(), fast, slow).headline == "Ship static on x86"
    verdict = _verdict(fixtures.float32(), _busy(fast), slow)
    assert verdict.headline == "Ship static on fbgemm"
    assert (
        "Static on x86 may be better, but the machine was busy while it was timed."
        in verdict.caveats
    )
    alone = _verdict(fixtures.float32(), _busy(fast))
    assert alone.headline == "Keep float32"
    assert "static on x86 may be better, but the machine was busy" in alone.reason


def test_where_everything_that_keeps_the_budgets_was_busy_there_is_no_verdict():
    rows = fixtures.float32(), _busy(fixtures.result())
    verdict = _verdict(*rows, budgets=Budgets(size_bytes=5e6))
    assert (verdict.headline, verdict.ship) == ("No verdict yet", None)
    assert "machine was busy" in verdict.reason
    assert verdict.ties == ()


@pytest.mark.parametrize(
    ("size_bytes", "ratio", "spread"),
    [(8_890_000, 1.10, 0.11), (fixtures.FLOAT_BYTES - 130, 1.0, 0.01), (9_162_000, 1.015, 0.001)],
    ids=["3 % smaller, perhaps 10 % faster", "130 bytes smaller", "1.5 % faster for sure"],
)
def test_trifles_and_chance_do_not_replace_float32(size_bytes, ratio, spread):
    row = fixtures.result("dynamic", "qnnpack", size_bytes=size_bytes, ratio=ratio, spread=spread)
    verdict = _verdict(fixtures.float32(), row)
    assert verdict.headline == "Keep float32"
    assert "130 bytes" not in verdict.sentence


def test_the_smallest_differences_are_the_users():
    row = fixtures.result(size_bytes=fixtures.FLOAT_BYTES, ratio=1.2, spread=0.01, top1=0.9335)
    assert _verdict(fixtures.float32(), row).headline == "Ship static on x86"
    coarse = Budgets(smallest=Smallest(share=0.25))
    assert _verdict(fixtures.float32(), row, budgets=coarse).headline == "Keep float32"
    assert coarse.smallest.sentence.startswith("Differences below 25 % in size and time")


def test_what_the_winner_is_worse_at_stands_in_the_sentence():
    row = fixtures.result(
        size_bytes=int(1.3 * fixtures.FLOAT_BYTES),
        ratio=1.8,
        top1=0.9335,
        peak_memory_bytes=80_000_000,
    )
    assert _verdict(fixtures.float32(), row).reason == (
        "1.8× faster (3.9 ms), equally accurate on 2,000 pictures, but 1.3× larger (12 MB) and "
        "32 MB more memory"
    )


def test_no_verdict_comes_from_one_row():
    verdict = _verdict(fixtures.float32())
    assert (verdict.ship, verdict.headline) == (None, "No verdict from one row")


def test_a_verdict_says_how_much_it_has_seen():
    rows = fixtures.float32(), fixtures.result()
    assert _verdict(*rows, missing=4).headline == "So far (2 of 6): ship static on x86"
    assert _verdict(fixtures.float32(), missing=5).headline == (
        "So far (1 of 6): no verdict from one row"
    )
    comparison = fixtures.comparison(rows)
    (request,) = [replace(comparison.request, variants=comparison.request.variants * 3)]
    early = replace(comparison, request=request)
    assert decide.decide(early).headline.startswith("So far (2 of 6): ")


def test_a_variant_that_names_one_class_cannot_win():
    good, flat = fixtures.result("static", "fbgemm"), fixtures.result("static", "x86", ratio=9.0)
    verdict = _verdict(_naming(fixtures.float32(), 9, 0.2), _naming(flat, 1), _naming(good, 9, 0.2))
    assert verdict.headline == "Ship static on fbgemm"
    assert any("it names one class for every picture" in caveat for caveat in verdict.caveats)


def test_agreement_with_a_float32_that_names_one_class_means_nothing():
    rows = [
        replace(_naming(row, 1), accuracy=None)
        for row in (fixtures.float32(None), fixtures.result(top1=None, agreement=1.0))
    ]
    verdict = _verdict(*rows)
    assert any("agreeing with it means nothing" in caveat for caveat in verdict.caveats)
    accuracy = decide.promise(fixtures.comparison(rows), rows[1])[2]
    assert accuracy.state == "unknown"


def test_pictures_of_one_class_are_no_reason_for_doubt():
    rows = [
        _naming(_on(row, 200, 1.0, chance=1.0), 1)
        for row in (fixtures.float32(), fixtures.result())
    ]
    verdict = _verdict(*rows)
    assert verdict.headline == "Ship static on x86"
    assert not any("one class" in caveat for caveat in verdict.caveats)


def test_accuracy_near_chance_is_no_kept_promise():
    rows = [_on(row, 28, 0.21, chance=0.2) for row in (fixtures.float32(), fixtures.result())]
    verdict = _verdict(*rows)
    assert any(
        caveat.startswith("float32 is near chance: 21 % right") for caveat in verdict.caveats
    )
    accuracy = decide.promise(fixtures.comparison(rows), rows[1])[2]
    assert (accuracy.state, accuracy.outcome[:34]) == (
        "unknown",
        "unknown: float32 is near chance, 2",
    )


def test_few_pictures_say_what_they_cannot_tell_apart():
    rows = [_on(row, 28, 0.93, chance=0.2) for row in (fixtures.float32(), fixtures.result())]
    verdict = _verdict(*rows)
    assert any(
        caveat.startswith("28 pictures cannot tell ") and "would tell 1 point." in caveat
        for caveat in verdict.caveats
    )
    many = [_on(row, 20_000, 0.93, chance=0.2) for row in rows]
    assert not any("cannot tell" in caveat for caveat in _verdict(*many).caveats)


def test_a_tie_is_called_one_and_says_what_little_decides():
    one = fixtures.result("static", "x86", size_bytes=2_690_000)
    other = fixtures.result("static", "fbgemm", size_bytes=2_700_000)
    verdict = _verdict(fixtures.float32(), one, other)
    assert verdict.ties == (other.key,)
    assert "A tie between static on x86 and static on fbgemm: static on x86 is 10 kB smaller." in (
        verdict.caveats
    )


def test_an_unsettled_winner_is_called_so():
    row = fixtures.result(ratio=2.6, spread=0.2)
    assert any(
        "known less well than ±10 %" in caveat
        for caveat in _verdict(fixtures.float32(), row).caveats
    )
