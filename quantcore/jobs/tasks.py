"""One task of a background service: its request, its state, and its end."""

import threading
import time
from dataclasses import dataclass, replace
from typing import Any, Generic, Literal, TypeVar

from quantcore.errors import CancelledError, ChildDiedError, QuantcoreError

# Share of the work before which no time left is shown, since it would be a guess.
MIN_SHARE = 0.1
TaskState = Literal["waiting", "running", "done", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class TaskView:
    """The state of a task; each kind of task adds its result.

    Attributes:
        stage: what it is doing, in plain words.
        share: of the work that is done, 0 to 1.
        seconds_left: at the pace so far; None before that can be said.
        problem: why nothing came of it.
    """

    state: TaskState = "waiting"
    stage: str = ""
    share: float = 0.0
    seconds_left: float | None = None
    problem: QuantcoreError | None = None

    @property
    def is_open(self) -> bool:
        """Return whether it still waits or runs."""
        return self.state in ("waiting", "running")


Spec = TypeVar("Spec")
View = TypeVar("View", bound=TaskView)


class Task(Generic[Spec, View]):
    """One task, as the function that does its work sees it. Safe from any thread."""

    def __init__(self, spec: Spec, view: View, owner: str, timeout_s: float | None) -> None:
        self.spec = spec
        self.view = view
        self.owners = {owner}
        # No longer waiting for its turn; unlike the view, which may say that it waits for more.
        self.is_begun = not view.is_open
        self.over = threading.Event()
        self._timeout_s = timeout_s
        self._working_since: float | None = None
        self._mutex = threading.Lock()

    def update(self, **changes: Any) -> None:
        """Change fields of the view.

        Raises:
            CancelledError: the task was stopped.
        """
        with self._mutex:
            if not self.view.is_open:
                raise cancelled()
            self.view = replace(self.view, **changes)

    def progress(self, stage: str, share: float) -> None:
        """Update stage and share; a stopped task stays as it is."""
        with self._mutex:
            if not self.view.is_open:
                return
            now = time.monotonic()
            self._working_since = since = self._working_since or now
            left = (now - since) * (1 - share) / share if share > MIN_SHARE else None
            self.view = replace(
                self.view, state="running", stage=stage, share=share, seconds_left=left
            )

    def should_stop(self) -> bool:
        """Return whether it was cancelled or its time is up."""
        return not self.view.is_open or self.is_late

    def raise_if_cancelled(self) -> None:
        """Raise `CancelledError` where `should_stop`."""
        if self.should_stop():
            raise cancelled()

    @property
    def is_late(self) -> bool:
        """Return whether its time is up."""
        since, limit = self._working_since, self._timeout_s
        return since is not None and limit is not None and time.monotonic() - since > limit

    def fail(self, error: Exception) -> None:
        """Record what ended the task: that it was cancelled, or why it failed."""
        if isinstance(error, CancelledError):
            self.end("cancelled", error)
        elif isinstance(error, QuantcoreError):
            self.end("failed", error)
        else:
            reason = f"It ended with an error: {type(error).__name__}: {error}"
            self.end("failed", QuantcoreError(reason, "Try it again, or something else."))

    def end(self, state: TaskState, problem: QuantcoreError | None = None) -> None:
        """Record the end of the task, unless it has ended already."""
        if state == "cancelled" and self.is_late:
            state, problem = "failed", _too_late(self._timeout_s or 0.0)
        with self._mutex:
            if self.view.is_open:
                share = 1.0 if state == "done" else self.view.share
                self.view = replace(
                    self.view,
                    state=state,
                    stage="",
                    share=share,
                    seconds_left=None,
                    problem=problem,
                )


def cancelled() -> CancelledError:
    """Return the error for cancelled work."""
    return CancelledError("The work was cancelled.", "Start it again when you like.")


def _too_late(limit_s: float) -> ChildDiedError:
    return ChildDiedError(
        f"It took longer than {limit_s:g} s and was stopped.",
        "Take something smaller, or try it again when the machine has less to do.",
    )
