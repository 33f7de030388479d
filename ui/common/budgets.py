"""Limits as sliders: what a product may spend, and how many variants keep it."""

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from quantcore import wording
from quantcore.decide import Budgets, Smallest, Verdict, bounds, untimed
from quantcore.draw import titles
from quantcore.schema import Rows, Target, VariantResult
from ui.common import state
from ui.common.evaluated import evidence_of
from ui.common.markdown import Markdown, markdown
from ui.common.once import once

STEPS = 100


@dataclass(frozen=True)
class Slider:
    """One budget as people set it.

    Attributes:
        key: in the address.
        label: over the slider.
        unit: of the numbers on it.
        scale: how many of the budget's own units one of these is.
        help: what the tooltip says.
    """

    key: str
    label: str
    unit: str
    scale: float
    help: str


SLIDERS = {
    "size_bytes": Slider(
        "max_size", "Size, at most", "MB", 1e6, "Of the file that ships, in megabytes."
    ),
    "latency_ms": Slider(
        "max_latency",
        "Latency, at most",
        "ms",
        1.0,
        "Median time of one call on the machine shown, in milliseconds. A phone's is another.",
    ),
    "accuracy_lost_points": Slider(
        "max_loss",
        "Accuracy lost, at most",
        "points",
        1.0,
        "Percentage points of top-1 below float32. Below zero asks for a gain.",
    ),
    "peak_memory_bytes": Slider(
        "max_memory",
        "Peak memory, at most",
        "MB",
        1e6,
        "The most the process takes above what the runtime itself holds, in megabytes.",
    ),
}
MOVED = "budgets_moved"


def chosen() -> Budgets:
    """Return the limits that the address and the sliders set; what is no number sets none."""
    limits = {name: _limit(slider) for name, slider in SLIDERS.items()}
    given = {name: limit for name, limit in limits.items() if limit is not None}
    return Budgets.of(given, state.settings())


def _limit(slider: Slider) -> float | None:
    number = _number(st.session_state.get(slider.key))
    if number is None or (number < 0 and slider.key != "max_loss"):
        return None
    return number * slider.scale


def _number(text: object) -> float | None:
    try:
        number = float(str(text))
    except ValueError:
        return None
    return number if abs(number) < 1e12 else None


def draw(results: Rows, recommendation: Verdict) -> None:
    """Draw a slider for every figure that the variants differ in, and what comes of them."""
    place = state.target()
    ends = once(_ends, results, place)
    differing = [name for name, (low, high) in ends.items() if low < high]
    if not differing:
        return
    with st.container(border=True, key="budgets"):
        for name, column in zip(differing, st.columns(len(differing), gap="medium"), strict=True):
            with column:
                _slider(SLIDERS[name], *ends[name])
        if sentence := untimed(place):
            st.caption(markdown(f"There is no limit on latency here. {sentence}"))
        _count(recommendation, results)
        _nearest(recommendation, results)


def _ends(results: Rows, _: Target | None) -> dict[str, tuple[float, float]]:
    """Return the least and the most of each figure, rounded outwards, in the sliders' units."""
    limits = bounds(evidence_of(results, Smallest()).candidates)
    return {
        name: _outwards(*(end / SLIDERS[name].scale for end in limits[name])) for name in limits
    }


def _outwards(low: float, high: float) -> tuple[float, float]:
    step = _step(low, high)
    if not step:
        return low, high
    return round(step * (low // step), 6), round(-step * (-high // step), 6)


def _step(low: float, high: float) -> float:
    """Return a round step of which there are about a hundred from one end to the other."""
    width = (high - low) / STEPS
    if width <= 0:
        return 0.0
    power = 10.0 ** len(str(int(width))) if width >= 1 else 1.0
    while power > width:
        power /= 10
    return next(power * times for times in (1, 2, 5, 10) if power * times >= width)


def _slider(slider: Slider, low: float, high: float) -> None:
    # A widget in a fragment that runs by itself forgets a value set through its key, so the value
    # is kept under another key, and a new address makes a new widget.
    limit = _number(st.session_state.get(slider.key))
    shown = high if limit is None else min(max(limit, low), high)
    widget = f"budget-{slider.key}-{state.visit()}-{st.session_state.get(MOVED, 0)}"
    st.slider(
        markdown(f"{slider.label}, {slider.unit}"),
        low,
        high,
        shown,
        step=_step(low, high),
        format="%g",
        key=widget,
        on_change=_keep,
        args=[slider.key, widget, high],
        help=markdown(f"{slider.help} At the right end it sets no limit."),
    )
    if limit is not None and not low <= limit <= high:
        where = "above" if limit > high else "below"
        unit = (
            slider.unit.removesuffix("s") if limit == 1 and slider.unit == "points" else slider.unit
        )
        st.caption(markdown(f"The limit of {limit:g} {unit} is {where} what any variant needs."))


def _keep(key: str, widget: str, high: float) -> None:
    value = st.session_state[widget]
    st.session_state[key] = None if value >= high else f"{value:g}"


def _count(recommendation: Verdict, results: Rows) -> None:
    """Say how many variants keep every limit, and which of them the data cannot decide."""
    of = wording.count(len(results), "variant")
    keep = "keeps" if len(recommendation.qualifying) == 1 else "keep"
    parts = [
        Markdown("**{} of {}** {} these budgets.").format(len(recommendation.qualifying), of, keep)
    ]
    if recommendation.close:
        names = titles.by_key(results)
        close = [names[key] for key in recommendation.close if key in names]
        parts.append(
            markdown(
                f"Too close to call, since an interval crosses a limit: {wording.joined(close)}."
            )
        )
    with st.container(horizontal=True, vertical_alignment="center", key="budget-count"):
        st.caption(Markdown(" ").join(parts))
        if chosen().limits():
            st.button("Clear the budgets", type="tertiary", on_click=_clear)


def _nearest(recommendation: Verdict, results: Sequence[VariantResult]) -> None:
    """Where nothing qualifies, offer to relax what keeps the nearest variants out."""
    speak = titles.speaker(results)
    for index, miss in enumerate(recommendation.misses):
        with st.container(horizontal=True, vertical_alignment="center", key=f"miss-{index}"):
            st.markdown(markdown(wording.capital(speak(miss.sentence))))
            st.button("Allow that", key=f"relax-{index}", on_click=_relax, args=[miss.relax])


def _clear() -> None:
    for slider in SLIDERS.values():
        st.session_state[slider.key] = None
    _moved()


def _relax(limits: Sequence[tuple[str, float]]) -> None:
    for name, limit in limits:
        slider = SLIDERS[name]
        st.session_state[slider.key] = f"{limit / slider.scale:g}"
    _moved()


def _moved() -> None:
    """Make the sliders anew, since a widget keeps its own value."""
    st.session_state[MOVED] = st.session_state.get(MOVED, 0) + 1
