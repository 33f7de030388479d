"""The pictures that this process was asked to try: start, look at, cancel. Safe from any thread.

Readers keep files loaded between pictures, so that the second picture is answered at once. They
never run beside a measurement: the machine's lock is held from reading a picture to the last
answer, and some time after the last picture the readers end. Nothing is written down, and pictures
that people bring never reach the disk.
"""

import secrets
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.cache import Store, locks
from quantcore.engine import MACHINE_LOCK
from quantcore.errors import (
    CancelledError,
    ChildDiedError,
    DamagedArtifactError,
    QuantcoreError,
    RequestError,
)
from quantcore.jobs import IdleEnd
from quantcore.models import find
from quantcore.playground.run import (
    DECODER_MEMORY_BYTES,
    Answer,
    InputSpec,
    Picture,
    Prepared,
    Question,
    Told,
    TrialSpec,
    TrialState,
    TrialView,
    Unanswered,
    check,
    input_spec,
    is_brought,
    unpacked,
)
from quantcore.sandbox import Child, ProcessPool, Worker, not_an_answer, sandboxed
from quantcore.schema import Guess, ImageSpec, ModelSpec, VariantResult
from quantcore.settings import Settings

ID_BYTES = 12
MAX_REMEMBERED = 100
# Seconds after the last picture until what is loaded is let go.
IDLE_S = 180.0
# Loading a large file and its first calls take seconds, a minute on a machine that is swamped.
ANSWER_TIMEOUT_S = 120.0
PRELOADED_MODULES = ("torch", "quantcore.playground.run")
WAITS = "waits until the measurement that runs is done"
IN_LINE = "waits until another picture is answered"
STARTING = "starting torch, which takes a few seconds the first time"
READING = "reading the picture"
NOT_HERE = "Its file is not on this machine: it was measured elsewhere, or removed to make room."
A_PROGRAM = "It came as a program, and programs of others are not kept loaded to be asked."
WEIGHTS_ALONE = "Upload the weights alone to try pictures."
MEASURE = "Measure it here; what is known already returns at once."


@dataclass
class _Record:
    """One trial under way, or over. What was asked is kept only as long as it is needed."""

    spec: TrialSpec | None
    view: TrialView
    cancelled: bool = False
    over: threading.Event = field(default_factory=threading.Event)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def tell(self, stage: str, state: TrialState = "running") -> None:
        """Take note of what it is at."""
        with self.mutex:
            self.view = replace(self.view, stage=stage, state=state)

    def read(self, prepared: Prepared) -> None:
        """Take note of the picture."""
        with self.mutex:
            self.view = replace(self.view, seen=prepared.seen)

    def add(self, answer: Answer | Unanswered) -> None:
        """Take note of an answer."""
        with self.mutex:
            self.view = replace(self.view, answers=(*self.view.answers, answer))

    def end(self, state: TrialState, problem: QuantcoreError | None = None) -> None:
        """Take note of how it ended; the picture is forgotten."""
        with self.mutex:
            self.view = replace(self.view, state=state, stage="", problem=problem)
            self.spec = None
        self.over.set()

    def stop_if_asked(self) -> None:
        """Raise `CancelledError` if nobody wants the answers any more."""
        if self.cancelled:
            raise CancelledError("The picture was put away.", "Choose it again when you like.")


class Trials:
    """The trials of one process, and the readers that answer them."""

    def __init__(self, settings: Settings, store: Store, lock: Path = MACHINE_LOCK) -> None:
        """Make it; nothing starts before the first picture. `lock` is what measurements hold."""
        self._settings = settings
        self._store = store
        self._lock = lock
        self._records: dict[str, _Record] = {}
        self._mutex = threading.Lock()
        # Held by the one trial that runs, and by whoever ends the readers.
        self._turn = threading.Lock()
        self._pool: ProcessPool | None = None
        # Held by whoever uses, starts or ends the decoders: one picture is decoded at a time.
        self._decoding = threading.Lock()
        self._decoders: Worker | None = None
        self._vault: Worker | None = None
        self._readers: dict[str | None, Child] = {}
        self._idle = IdleEnd(self._turn, self._end_readers)
        self._closed = False

    def start(self, spec: TrialSpec) -> str:
        """Ask a picture of every variant, and return the trial's id at once.

        Raises:
            RequestError: what was brought is empty or too large.
        """
        check(spec.picture)
        trial_id = secrets.token_urlsafe(ID_BYTES)
        record = _Record(spec, TrialView("waiting", IN_LINE, len(spec.rows)))
        with self._mutex:
            self._records[trial_id] = record
            self._forget_the_oldest()
        threading.Thread(
            target=self._run, args=(record, spec), name="quantcore-trial", daemon=True
        ).start()
        return trial_id

    def view(self, trial_id: str) -> TrialView | None:
        """Return where a trial stands; None where it is not remembered."""
        record = self._record(trial_id)
        return record.view if record else None

    def wait(self, trial_id: str, timeout_s: float) -> None:
        """Return when a trial is over, or the time is."""
        record = self._record(trial_id)
        if record is not None:
            record.over.wait(timeout_s)

    def cancel(self, trial_id: str) -> None:
        """Ask no further variants: who asked has another picture, or left."""
        record = self._record(trial_id)
        if record is not None:
            record.cancelled = True

    def forget(self, trial_id: str) -> None:
        """Ask no further variants, and keep nothing of the picture."""
        self.cancel(trial_id)
        with self._mutex:
            self._records.pop(trial_id, None)

    def are_here(self, rows: tuple[VariantResult, ...]) -> bool:
        """Return whether any of the variants can be asked."""
        # What is not here may lie in the storage; the trial finds out.
        return self._settings.artifacts is not None or any(map(self._is_here, rows))

    def close(self) -> None:
        """End what is under way, and the readers."""
        self._closed = True
        for record in list(self._records.values()):
            record.cancelled = True
        self._idle.cancel()
        # Not `_turn`: a trial that is under way ends because its reader does.
        if self._pool is not None:
            self._pool.close()
        for worker in (self._decoders, self._vault):
            _end(worker)

    def _record(self, trial_id: str) -> _Record | None:
        with self._mutex:
            return self._records.get(trial_id)

    def _forget_the_oldest(self) -> None:
        over = [key for key, record in self._records.items() if record.over.is_set()]
        for key in over[: max(0, len(self._records) - MAX_REMEMBERED)]:
            del self._records[key]

    def _is_here(self, row: VariantResult) -> bool:
        try:
            self._store.path(row.artifact.sha256)
        except QuantcoreError:
            return False
        return True

    def _run(self, record: _Record, spec: TrialSpec) -> None:
        """Answer one trial. The one place where any failure becomes a view of it."""
        try:
            with self._turn:
                record.stop_if_asked()
                record.tell(WAITS, "waiting")
                try:
                    with locks.exclusive(self._lock, record.stop_if_asked):
                        self._ask_all(record, spec)
                finally:
                    self._idle.in_seconds(IDLE_S)
        except CancelledError as error:
            record.end("cancelled", error)
        except QuantcoreError as error:
            record.end("failed", error)
        except Exception as error:
            what = f"The picture could not be asked: {type(error).__name__}: {error}"
            record.end("failed", QuantcoreError(what, "Try it again, or another picture."))
        else:
            record.end("done")

    def _ask_all(self, record: _Record, spec: TrialSpec) -> None:
        record.tell(READING if self._living_nursery() else STARTING)
        prepared = self._prepared(spec)
        record.read(prepared)
        for row in spec.rows:
            record.stop_if_asked()
            record.tell(f"asking {len(spec.rows)} variants")
            record.add(self._ask(row, prepared, spec.images))

    def _prepared(self, spec: TrialSpec) -> Prepared:
        asked = spec.picture, spec.images, spec.input_specs
        try:
            if is_brought(spec.picture, spec.images):
                return self._brought(*asked)
            with self._started_nursery().spawn(
                "quantcore.playground.run:run_prepare_child", *asked
            ) as child:
                prepared: Prepared = child.receive(timeout_s=ANSWER_TIMEOUT_S)
        except ChildDiedError as error:
            raise ChildDiedError(
                f"The process that reads the picture ended. {error.reason}",
                "Try it again, or a smaller picture.",
            ) from error
        return prepared

    def thumbnails(
        self, images: ImageSpec, model: str, places: Sequence[int], side: int
    ) -> tuple[bytes, ...]:
        """Return pictures that somebody brought as small PNG files, decoded by a locked child.

        Raises:
            QuantcoreError: they are gone, or one of them cannot be read.
        """
        asked = images, model, tuple(places), side
        try:
            answer = self._decoded(
                "quantcore.playground.run:run_thumbnails_child", *asked, of=(images.source, model)
            )
            return unpacked(_TEXTS.validate_python(answer), len(places))
        except QuantcoreError:
            raise
        # Whatever else such a child says is no answer.
        except Exception as error:
            raise not_an_answer() from error
        finally:
            self._idle.in_seconds(IDLE_S)

    def _brought(
        self, picture: Picture, images: ImageSpec, input_specs: tuple[InputSpec, ...]
    ) -> Prepared:
        """Let a locked child decode what somebody brought."""
        names = images.source, *(model for model, _ in input_specs)
        function = "quantcore.playground.run:run_told_child"
        answer = self._decoded(function, picture, images, input_specs, of=names)
        try:
            return _TOLD.validate_python(answer).prepared(input_specs)
        except ValueError as error:
            raise not_an_answer() from error

    def _decoded(self, function: str, *arguments: object, of: Sequence[str | None]) -> object:
        """Return what a locked child answers that may read the uploads among `of`."""
        with self._decoding:
            if self._closed:
                raise RequestError("The server is ending.", "Try again in a moment.")
            if self._decoders is None or not self._decoders.is_to_be_kept:
                _end(self._decoders)
                # Without torch, which decoding needs not.
                least_gb = min(self._settings.memory_gb, DECODER_MEMORY_BYTES / 1e9)
                limited = replace(self._settings, memory_gb=least_gb)
                self._decoders = sandboxed.start(
                    limited, ["quantcore.playground.run"], [uploads.use_call(limited.data)]
                )
            reads = _folders(*of)
            with self._decoders.pool.spawn(function, *arguments, reads=reads) as child:
                return child.receive(timeout_s=ANSWER_TIMEOUT_S)

    def _ask(
        self, row: VariantResult, prepared: Prepared, images: ImageSpec
    ) -> Answer | Unanswered:
        sha256 = row.artifact.sha256
        try:
            if find(ModelSpec(row.model)).is_program:
                return Unanswered(row.key, A_PROGRAM, WEIGHTS_ALONE)
            with self._store.using(sha256) as (path,):
                pixels = prepared.pixels[input_spec(row)]
                size_bytes = row.artifact.size_bytes
                question = Question(path, sha256, size_bytes, row.threads, row.model, pixels)
                if uploads.is_named(images.source):
                    guesses, latency_ms = self._answered_locked(question, row.backend)
                else:
                    reader = self._reader(row.backend)
                    reader.send(question)
                    guesses, latency_ms = reader.receive(timeout_s=ANSWER_TIMEOUT_S)
        except DamagedArtifactError:
            return Unanswered(row.key, NOT_HERE, MEASURE)
        # A reader ends with whatever its runtime says of a file; the next file gets a new one.
        except Exception as error:
            self._drop(row.backend)
            return _unanswered(row.key, error)
        return Answer(row.key, guesses, latency_ms)

    def _answered_locked(
        self, question: Question, backend: str | None
    ) -> tuple[tuple[Guess, ...], float]:
        """Ask a file that was made by a process which had opened somebody's pictures.

        They may have taken that process over, so the file is a program of theirs: it is loaded by a
        locked child that ends with this one answer.
        """
        if self._closed:
            raise RequestError("The server is ending.", "Try again in a moment.")
        if self._vault is None or not self._vault.is_to_be_kept:
            _end(self._vault)
            self._vault = sandboxed.start(
                self._settings, PRELOADED_MODULES, [uploads.use_call(self._settings.data)]
            )
        reads = (question.path, *_folders(question.model))
        with self._vault.pool.spawn(
            "quantcore.playground.run:run_reader_child", backend, reads=reads
        ) as child:
            child.send(question)
            answer = child.receive(timeout_s=ANSWER_TIMEOUT_S)
        try:
            return _ANSWERED.validate_python(answer)
        except ValueError as error:
            raise not_an_answer() from error

    def _reader(self, backend: str | None) -> Child:
        if backend not in self._readers:
            self._readers[backend] = self._started_nursery().spawn(
                "quantcore.playground.run:run_reader_child", backend
            )
        return self._readers[backend]

    def _drop(self, backend: str | None) -> None:
        reader = self._readers.pop(backend, None)
        if reader is not None:
            reader.kill()

    def _living_nursery(self) -> bool:
        return self._pool is not None and self._pool.is_alive

    def _started_nursery(self) -> ProcessPool:
        if self._closed:
            raise RequestError("The server is ending.", "Try again in a moment.")
        if self._pool is None or not self._pool.is_alive:
            self._end_readers()
            self._pool = ProcessPool(
                PRELOADED_MODULES,
                self._settings.memory_limit_bytes,
                calls=[uploads.use_call(self._settings.data)],
            )
        return self._pool

    def _end_readers(self) -> None:
        """End every reader and the process that forked them."""
        for backend in list(self._readers):
            with suppress(ChildDiedError):
                self._drop(backend)
        if self._pool is not None:
            self._pool.close()
            self._pool = None
        _end(self._vault)
        self._vault = None
        with self._decoding:
            _end(self._decoders)
            self._decoders = None


_TOLD = TypeAdapter(Told)
_TEXTS = TypeAdapter(tuple[str, ...])
_ANSWERED = TypeAdapter(tuple[tuple[Guess, ...], float])


def _end(worker: Worker | None) -> None:
    """End a worker, if there is one."""
    if worker is not None:
        worker.pool.close()


def _folders(*names: str | None) -> tuple[Path, ...]:
    """Return the folders of those that are uploads, each once."""
    found = dict.fromkeys(name for name in names if name is not None and uploads.is_named(name))
    return tuple(map(uploads.folder, found))


def _unanswered(key: str, error: Exception) -> Unanswered:
    if isinstance(error, QuantcoreError):
        return Unanswered(key, error.reason, error.remedy)
    text = " ".join(str(error).split())[:300]
    return Unanswered(key, f"It could not answer: {type(error).__name__}: {text}", MEASURE)
