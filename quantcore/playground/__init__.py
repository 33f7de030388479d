from quantcore.playground.service import Playground
from quantcore.playground.spec import (
    MAX_BYTES,
    Answer,
    Picture,
    PlaygroundSpec,
    PlaygroundView,
    Seen,
    Unanswered,
    check,
)

__all__ = [
    "MAX_BYTES",
    "Answer",
    "Picture",
    "Playground",
    "PlaygroundSpec",
    "PlaygroundView",
    "Seen",
    "Unanswered",
    "check",
]
