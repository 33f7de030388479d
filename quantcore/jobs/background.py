"""Work that one process does for its visitors while it draws pages: exports, inspections and such.

Each kind of work is a subclass of `BackgroundTasks`. Its tasks are done one at a time by a thread
that lives as long as there is something to do or something loaded. Nothing is written down: what
is under way when the process ends is lost.
"""

import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Generic

from quantcore.errors import RequestError
from quantcore.jobs.tasks import Spec, Task, View, cancelled

ID_BYTES = 12
# A task that was stopped looks ten times a second whether it was, but not while files are fetched.
END_S = 10.0


@dataclass(frozen=True)
class Limits:
    """How much of one kind of work a process takes on.

    Attributes:
        crowd: what is under way, for who is refused: "files are being made".
        per_owner: tasks of one visitor that wait or run at once.
        in_all: tasks of all visitors that do.
        remembered: tasks that can still be looked at, with those that are over.
        timeout_s: from a task's first report of progress until it is stopped; None for no limit.
        idle_s: from the last task until what is kept loaded is released.
    """

    crowd: str
    per_owner: int = 10
    in_all: int = 50
    remembered: int = 100
    timeout_s: float | None = None
    idle_s: float = 0.0

    def require_room(self, own: int, total: int) -> None:
        """Raise `RequestError` where one more would be too many for its owner, or in all."""
        if own >= self.per_owner:
            raise RequestError(
                f"{own} of your own {self.crowd} or wait for their turn.",
                "Ask again when one of them is done, or cancel one.",
            )
        if total >= self.in_all:
            raise RequestError(
                f"{total} {self.crowd} or wait for their turn.",
                "Ask again when one of them is done.",
            )


class BackgroundTasks(ABC, Generic[Spec, View]):
    """A limited queue of tasks of one kind, visitors taking turns. Safe from any thread."""

    def __init__(self, limits: Limits) -> None:
        """Create an empty queue; its thread starts with the first task."""
        self.limits = limits
        self.is_closed = False
        self._tasks: dict[str, Task[Spec, View]] = {}
        # Held for every change of the attributes below, never while a task runs.
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._used_at = 0.0
        # When each visitor had the last turn, counted, for as long as anybody waits.
        self._turns: dict[str, int] = {}

    @abstractmethod
    def work(self, task: Task[Spec, View]) -> None:
        """Do one task; what it raises is why the task failed."""

    def release(self) -> None:
        """Free what is kept loaded for the next task."""

    def ended(self, view: View) -> None:
        """Clear up after a task that is over, whether it ever began or not."""

    def require_open(self) -> None:
        """Raise `RequestError` once `close` was called."""
        if self.is_closed:
            raise RequestError("The server is ending.", "Try again in a moment.")

    def submit(self, spec: Spec, view: View, owner: str = "", task_id: str | None = None) -> str:
        """Take on a task and return its id at once; an equal one under way is joined.

        Args:
            spec: what is to be done; forgotten once it is done.
            view: as it is shown first; one that is over is only remembered.
            owner: whose turn it takes.
            task_id: its id; made up where it has none.

        Raises:
            RequestError: the visitor, or all of them, have too many under way, or the process ends.
        """
        with self._changed:
            self.require_open()
            for open_id, open_task in self._tasks.items():
                if open_task.view.is_open and open_task.spec == spec:
                    open_task.owners.add(owner)
                    return open_id
            if view.is_open:
                under_way = [each for each in self._tasks.values() if each.view.is_open]
                own = sum(owner in each.owners for each in under_way)
                self.limits.require_room(own, len(under_way))
            task_id = task_id or secrets.token_urlsafe(ID_BYTES)
            self._tasks.pop(task_id, None)
            self._tasks[task_id] = task = Task(spec, view, owner, self.limits.timeout_s)
            self._forget_oldest()
            self._wake()
        if task.is_begun:
            self._finish(task)
        return task_id

    def view(self, task_id: str) -> View | None:
        """Return the view of a task; None where it is not remembered."""
        with self._changed:
            task = self._tasks.get(task_id)
        return task.view if task else None

    def wait(self, task_id: str, timeout_s: float | None = None) -> View:
        """Return the view of a task once it is over or the timeout has passed.

        Raises:
            RequestError: it is not remembered.
        """
        with self._changed:
            task = self._tasks.get(task_id)
        if task is None:
            raise RequestError("This is not known here any more.", "Start it again.")
        task.over.wait(timeout_s)
        return task.view

    def find(self, matches: Callable[[View], bool]) -> list[str]:
        """Return the ids of the tasks that are remembered and match, oldest first."""
        with self._changed:
            return [task_id for task_id, task in self._tasks.items() if matches(task.view)]

    def cancel(self, task_id: str, owner: str | None = None) -> bool:
        """Leave a task, which stops unless others wait for it; return whether it is over.

        What runs is ended, what waits never starts.

        Args:
            task_id: one that is not remembered is over.
            owner: who leaves; None for all.
        """
        with self._changed:
            task = self._tasks.get(task_id)
            if task is None or not task.view.is_open:
                return True
            task.owners -= {owner} if owner is not None else task.owners.copy()
            if task.owners:
                return False
            task.end("cancelled", cancelled())
        if not task.is_begun:
            self._finish(task)
        return True

    def forget(self, task_id: str, owner: str | None = None) -> None:
        """Cancel a task and remember nothing of it, unless others wait for it."""
        if self.cancel(task_id, owner):
            with self._changed:
                self._tasks.pop(task_id, None)

    def keep_loaded(self) -> None:
        """Count the time until `release` from now: what is loaded was used without a task."""
        with self._changed:
            self._wake()

    def close(self) -> None:
        """Stop every task and release what is loaded; return when nothing runs any more."""
        with self._changed:
            self.is_closed = True
            self._changed.notify_all()
            task_ids, thread = list(self._tasks), self._thread
        for task_id in task_ids:
            self.cancel(task_id)
        if thread is not None:
            thread.join(END_S)
            if thread.is_alive():
                # It does not react to being stopped; its child processes end with this process.
                self.release()

    def _forget_oldest(self) -> None:
        over = [task_id for task_id, task in self._tasks.items() if task.over.is_set()]
        for task_id in over[: max(0, len(self._tasks) - self.limits.remembered)]:
            del self._tasks[task_id]

    def _wake(self) -> None:
        self._used_at = time.monotonic()
        if self._thread is None and not self.is_closed:
            name = f"quantcore-{type(self).__name__}"
            self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
            self._thread.start()
        self._changed.notify_all()

    def _serve(self) -> None:
        """Run waiting tasks; after an idle time, release what is loaded and end."""
        while True:
            while (task := self._next()) is not None:
                self._run(task)
            # Even if clearing up fails, the next task must run.
            with suppress(Exception):
                self.release()
            with self._changed:
                if self._idle_s_left() <= 0 and not self._waiting():
                    self._thread = None
                    return

    def _next(self) -> Task[Spec, View] | None:
        """Wait for a task and return it; None when it is time to release what is loaded."""
        with self._changed:
            while not (waiting := self._waiting()):
                self._turns.clear()
                left = self._idle_s_left()
                if left <= 0:
                    return None
                self._changed.wait(left)
            # The oldest task of the visitor whose last turn is longest ago.
            task = min(waiting, key=lambda each: min(map(self._last_turn, each.owners)))
            task.is_begun = True
            self._turns |= dict.fromkeys(task.owners, 1 + max(self._turns.values(), default=0))
            return task

    def _waiting(self) -> list[Task[Spec, View]]:
        return [task for task in self._tasks.values() if task.view.is_open and not task.is_begun]

    def _last_turn(self, owner: str) -> int:
        return self._turns.get(owner, 0)

    def _idle_s_left(self) -> float:
        return 0.0 if self.is_closed else self._used_at + self.limits.idle_s - time.monotonic()

    def _run(self, task: Task[Spec, View]) -> None:
        """Do one task. The one place where any failure becomes a view of it."""
        try:
            self.work(task)
        except Exception as error:
            task.fail(error)
        else:
            task.end("done")
        self._finish(task)
        with self._changed:
            self._used_at = time.monotonic()

    def _finish(self, task: Task[Spec, View]) -> None:
        with suppress(Exception):
            self.ended(task.view)
        with self._changed:
            # It may be large, a picture for one.
            del task.spec
            task.over.set()
