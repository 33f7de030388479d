"""Whether something can be done here; where it cannot, why, and what to do instead."""

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


YES = Support(True)
