"""What a target makes of the same figures: who may ship there, and what is weighed."""

from dataclasses import replace

import numpy as np
import pytest

from quantcore import decide
from quantcore.backends import BACKENDS, WHERE, serves
from quantcore.decide import Budgets, Verdict
from quantcore.schema import TARGETS, Comparison, Target, Tuning, VariantResult
from quantcore.workflows import bits_of
from tests.support import fixtures

# Large ones take long, and hold no other kind of row.
NAMES = sorted(fixtures.NAMED.keys() - {"many"})
UNTIMED: tuple[Target, ...] = ("phone", "browser")
EVERY_TARGET = [(name, target) for name in NAMES for target in TARGETS]


def aimed(comparison: Comparison, target: Target | None) -> Comparison:
    return replace(comparison, request=replace(comparison.request, target=target))


def verdict(name: str, target: Target | None, budgets: Budgets | None = None) -> Verdict:
    return decide.decide(aimed(fixtures.NAMED[name](), target), budgets)


def rushed(row: VariantResult, rng: np.random.Generator) -> VariantResult:
    """Return a row as another machine might have timed it."""
    times = float(rng.uniform(0.2, 5.0))
    latency = row.latency_ms
    return replace(
        row,
        latency_ms=replace(
            latency,
            p50=latency.p50 * times,
            p90=latency.p90 * times,
            low=latency.low * times,
            high=latency.high * times,
        ),
        speedup=replace(row.speedup, ratio=1 / times, low=0.9 / times, high=1.1 / times),
        speedups={},
        machine_busy=bool(rng.integers(2)),
    )


@pytest.mark.parametrize(("name", "target"), EVERY_TARGET)
def test_only_what_is_made_for_the_target_ships_and_the_rest_says_for_what_it_is(
    name: str, target: Target
) -> None:
    rows = {row.key: row for row in fixtures.NAMED[name]().results}
    fits = {key for key, row in rows.items() if serves(row.backend, target).ok}
    found = verdict(name, target)
    assert {found.ship} - {None} <= fits
    assert {*found.qualifying, *found.front, *found.ties, *found.close} <= fits
    assert {miss.key for miss in found.misses} <= fits
    said = {other.key: other for other in found.others}
    for key in rows.keys() - fits:
        if said:
            assert said[key].sentence.startswith("Made for ")
            assert not said[key].qualifies


@pytest.mark.parametrize(("name", "target"), EVERY_TARGET)
def test_the_headline_names_the_target_wherever_something_ships(name: str, target: Target) -> None:
    found = verdict(name, target)
    if found.ship is not None:
        assert WHERE[target] in found.headline
    assert not any(where in verdict(name, None).headline for where in WHERE.values())


@pytest.mark.parametrize("target", UNTIMED)
@pytest.mark.parametrize("name", NAMES)
def test_times_of_this_machine_decide_nothing_for_a_phone_or_a_browser(
    name: str, target: Target
) -> None:
    rng = np.random.default_rng(0)
    source = fixtures.NAMED[name]()
    before = decide.decide(aimed(source, target))
    rows = tuple(rushed(row, rng) for row in source.results)
    after = decide.decide(aimed(replace(source, results=rows), target))
    assert (after.ship, after.qualifying, after.front, after.ties) == (
        before.ship,
        before.qualifying,
        before.front,
        before.ties,
    )
    assert after.reason == before.reason
    assert "faster" not in before.reason
    assert "slower" not in before.reason


@pytest.mark.parametrize("target", UNTIMED)
def test_a_latency_budget_is_not_tested_where_nothing_was_timed(target: Target) -> None:
    free = verdict("two_runtimes", target)
    tight = verdict("two_runtimes", target, Budgets(latency_ms=0.001))
    assert (tight.ship, tight.qualifying) == (free.ship, free.qualifying)
    assert any("latency budget is not tested" in caveat for caveat in tight.caveats)
    assert any(caveat.startswith("Times are of this machine") for caveat in free.caveats)
    assert verdict("two_runtimes", "server", Budgets(latency_ms=0.001)).ship is None


@pytest.mark.parametrize("name", NAMES)
def test_a_server_weighs_what_is_made_for_it_as_if_nothing_was_decided(name: str) -> None:
    source = fixtures.NAMED[name]()
    fitting = tuple(row for row in source.results if serves(row.backend, "server").ok)
    narrowed = replace(source, results=fitting)
    undecided, server = (decide.decide(aimed(narrowed, place)) for place in (None, "server"))
    assert (server.ship, server.qualifying, server.reason, server.others) == (
        undecided.ship,
        undecided.qualifying,
        undecided.reason,
        undecided.others,
    )


def test_memory_decides_between_files_that_are_alike_on_a_phone() -> None:
    frugal = fixtures.result("static", "qnnpack", ratio=0.4, peak_memory_bytes=12_000_000)
    greedy = fixtures.result("qat", "qnnpack", ratio=4.0, peak_memory_bytes=40_000_000)
    source = fixtures.comparison([fixtures.float32(), frugal, greedy])
    phone = decide.decide(aimed(source, "phone"))
    assert phone.ship == frugal.key
    assert "36 MB less memory" in phone.reason
    assert decide.decide(aimed(source, None)).ship == greedy.key
    (said,) = [other.sentence for other in phone.others if other.key == greedy.key]
    assert "28 MB less memory" in said


def test_without_any_variant_for_the_target_the_verdict_says_which_backends_are() -> None:
    rows = [fixtures.result("static", "x86"), fixtures.result("qat", "fbgemm")]
    found = decide.decide(aimed(fixtures.comparison(rows), "browser"))
    assert found.ship is None
    assert found.headline == "Nothing to ship in the browser"
    assert BACKENDS["onnxruntime"].title in found.reason


def test_a_float32_that_cannot_ship_leaves_none_that_can_to_keep() -> None:
    found = decide.decide(aimed(fixtures.one_variant(), "browser"))
    assert found.headline == "Nothing to ship in the browser"


def test_without_another_variant_for_it_float32_stays_for_that_reason() -> None:
    found = decide.decide(aimed(fixtures.one_variant(), "phone"))
    assert found.sentence == "Keep float32 in the phone app: no other variant here is made for it."


def test_the_promise_of_speed_is_open_where_nothing_was_timed() -> None:
    source = aimed(fixtures.typical(), "phone")
    evidence = decide.weigh(source.results, target="phone")
    row = decide.nearest_in_8_bits(evidence, decide.recommend(evidence))
    assert row is not None
    assert serves(row.backend, "phone").ok
    speed = decide.promise(source, row, evidence)[1]
    assert speed.state == "unknown"
    assert "a phone" in speed.outcome
    assert speed.causes == ()


@pytest.mark.parametrize(
    ("backend", "reduced", "target", "is_said"),
    [
        ("onednn", False, "server", True),
        ("onednn", False, None, True),
        ("onednn", True, "server", False),
        ("onnxruntime", False, "browser", False),
        ("qnnpack", False, None, False),
    ],
)
def test_a_file_that_needs_vnni_says_so_where_it_ships(
    backend: str, reduced: bool, target: Target | None, is_said: bool
) -> None:
    tuning = Tuning("minmax", reduce_range=reduced)
    row = replace(fixtures.result("static", backend), tuning=tuning)
    found = decide.decide(aimed(fixtures.comparison([fixtures.float32(), row]), target))
    assert found.ship == row.key
    assert (decide.NEEDS_VNNI in found.caveats) == is_said


def test_16_bits_may_ship_and_are_never_taken_for_8() -> None:
    half = fixtures.result("half", "onnxruntime", size_bytes=4_600_000, int8_share=0.0)
    poor = fixtures.result("static", "onnxruntime", top1=0.5)
    source = fixtures.comparison([fixtures.float32(), half, poor])
    evidence = decide.weigh(source.results)
    found = decide.recommend(evidence)
    assert found.headline == "Ship half on onnxruntime"
    nearest = decide.nearest_in_8_bits(evidence, found)
    assert nearest is not None
    assert bits_of(nearest.workflow, nearest.settings) == 8
    only = decide.weigh([fixtures.float32(), half])
    assert decide.nearest_in_8_bits(only, decide.recommend(only)) is None
