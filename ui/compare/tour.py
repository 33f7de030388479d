"""The first minute: three steps through the example, shown to a browser once."""

from dataclasses import dataclass

import streamlit as st
from markupsafe import Markup

from ui.common import fragments, seen, state, visitor

NAME = "tour"
STEP = "tour_step"
OVER = -1


@dataclass(frozen=True)
class Step:
    """One step of the tour: title, text, and the name of the part of the page it explains.

    The style sheet draws a ring around that part, by the step's number.
    """

    title: str
    text: str
    part: str


STEPS = (
    Step(
        "Start with the answer",
        "Below your choices, the verdict names the version to ship. Drag the sliders under "
        "it to what your app can spend, and the verdict follows.",
        ".qw-verdict",
    ),
    Step(
        "Then the plot",
        "Each mark is one version of the model. Left is faster, up is more accurate, and a "
        "small mark is a small file. What is beaten or over a budget is pale.",
        ".st-key-plot",
    ),
    Step(
        "Now your own model",
        "Say where it will run, choose a model and measure it on this machine. Then export the "
        "winner as a file for your app, or share the address of this page: it holds all you chose.",
        ".st-key-ask",
    ),
)


def draw() -> None:
    """Draw the tour where the example is shown to somebody who has not seen it."""
    if _is_due():
        st.fragment(_card)()


def _is_due() -> bool:
    if st.session_state.get("job"):
        # A visitor who has measured needs no introduction.
        if st.session_state.get(STEP, OVER) != OVER:
            _end()
        return False
    if STEP not in st.session_state:
        st.session_state[STEP] = OVER if seen.has(visitor.current().owner, NAME) else 0
    shown = state.shown(None) if st.session_state[STEP] != OVER else None
    return shown is not None and shown.provenance == "shipped" and bool(shown.results)


def _card() -> None:
    number = int(st.session_state[STEP])
    if number == OVER:
        return
    is_last = number + 1 == len(STEPS)
    with st.container(key=NAME, gap="small"):
        st.html(_step(number), unsafe_allow_javascript=number > 0)
        with st.container(horizontal=True, horizontal_alignment="right", key="tour-buttons"):
            if not is_last:
                st.button("Skip", type="tertiary", key="tour-skip", on_click=_end)
            st.button(
                "Got it" if is_last else "Next",
                key="tour-next",
                on_click=_end if is_last else _go_on,
            )


def _step(number: int) -> Markup:
    return fragments.render("tour_step.html", number=number + 1, of=len(STEPS), step=STEPS[number])


def _go_on() -> None:
    st.session_state[STEP] += 1


def _end() -> None:
    st.session_state[STEP] = OVER
    seen.add(visitor.current().owner, NAME)
