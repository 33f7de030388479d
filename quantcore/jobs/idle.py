"""What is kept loaded for the next one who asks is let go when nobody does for a while."""

import threading
from collections.abc import Callable


class IdleEnd:
    """Calls `end` some time after the last use, unless it is in use then."""

    def __init__(self, turn: threading.Lock, end: Callable[[], object]) -> None:
        """Make it; `turn` is held by whoever uses what `end` lets go of."""
        self._turn = turn
        self._end = end
        self._timer: threading.Timer | None = None

    def in_seconds(self, seconds: float) -> None:
        """Count anew from now."""
        self.cancel()
        self._timer = threading.Timer(seconds, self._end_if_unused)
        self._timer.daemon = True
        self._timer.start()

    def cancel(self) -> None:
        """Count no longer."""
        if self._timer is not None:
            self._timer.cancel()

    def _end_if_unused(self) -> None:
        if self._turn.acquire(blocking=False):
            try:
                self._end()
            finally:
                self._turn.release()
