"""Whether something can be done here, or came out as hoped; if not, why and what to do."""

from collections.abc import Callable
from dataclasses import dataclass

# Called with a stage in plain words and the share done, 0 to 1; may raise to stop the work.
Report = Callable[[str, float], None]


@dataclass(frozen=True)
class Support:
    """Whether a variant or a file can exist; where it cannot, why, and what to do instead."""

    ok: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Cause:
    """Why a figure is not what was hoped for, and what to do about it, in a sentence each."""

    sentence: str
    remedy: str


YES = Support(True)
