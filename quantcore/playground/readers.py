"""Readers of variants' files: processes that keep them loaded, or single-use sandboxed ones."""

from contextlib import suppress

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.cache import Store
from quantcore.errors import ChildDiedError, DamagedArtifactError, QuantcoreError
from quantcore.models import find
from quantcore.playground.decoders import folders
from quantcore.playground.picture import Prepared
from quantcore.playground.reader import Question
from quantcore.playground.spec import Answer, PlaygroundSpec, Unanswered, input_spec
from quantcore.sandbox import Child, KeptWorker, ProcessPool, ShouldStop, not_an_answer
from quantcore.schema import Guess, ModelSpec, VariantResult
from quantcore.settings import Settings

# Loading a large file and its first calls take seconds, a minute on a machine that is swamped.
ANSWER_TIMEOUT_S = 120.0
PRELOADED_MODULES = ("torch", "quantcore.playground.picture", "quantcore.playground.reader")
NOT_HERE = "Its file is not on this machine: it was measured elsewhere, or removed to make room."
A_PROGRAM = "It came as a program, and programs of others are not kept loaded to be asked."
WEIGHTS_ALONE = "Upload the weights alone to try pictures."
MEASURE = "Measure it here; what is known already returns at once."
# Guesses, surest first, and the milliseconds of the call.
Reply = tuple[tuple[Guess, ...], float]
_REPLY = TypeAdapter(Reply)


class Readers:
    """One child for each backend, started when it is first asked. For one thread at a time."""

    def __init__(self, settings: Settings, store: Store, should_stop: ShouldStop) -> None:
        self._settings = settings
        self._store = store
        self._should_stop = should_stop
        self.pool: ProcessPool | None = None
        self.children: dict[str | None, Child] = {}
        self._calls = [uploads.use_call(settings.data)]
        self.locked = KeptWorker(settings, PRELOADED_MODULES, self._calls)

    @property
    def is_started(self) -> bool:
        """Return whether torch is loaded already."""
        return self.pool is not None and self.pool.is_alive

    def prepared(self, spec: PlaygroundSpec) -> Prepared:
        """Return one of our own pictures as each model sees it."""
        arguments = spec.picture, spec.images, spec.input_specs
        function = "quantcore.playground.picture:run_prepare_child"
        with self._started().spawn(function, *arguments) as child:
            prepared: Prepared = child.receive(
                should_stop=self._should_stop, timeout_s=ANSWER_TIMEOUT_S
            )
        return prepared

    def answer(
        self, row: VariantResult, prepared: Prepared, source: str | None
    ) -> Answer | Unanswered:
        """Run a variant's file on the picture; `source` names the pictures it was made with."""
        try:
            if find(ModelSpec(row.model)).is_program:
                return Unanswered(row.key, A_PROGRAM, WEIGHTS_ALONE)
            guesses, latency_ms = self._replied(row, prepared, uploads.is_named(source))
        except DamagedArtifactError:
            return Unanswered(row.key, NOT_HERE, MEASURE)
        # A reader ends with any error of its runtime; the next file gets a new one.
        except Exception as error:
            self._drop(row.backend)
            return _unanswered(row.key, error)
        return Answer(row.key, guesses, latency_ms)

    def close(self) -> None:
        """End every reader and the processes that forked them."""
        for backend in list(self.children):
            with suppress(ChildDiedError):
                self._drop(backend)
        pool, self.pool = self.pool, None
        if pool is not None:
            pool.close()
        self.locked.close()

    def _replied(self, row: VariantResult, prepared: Prepared, is_untrusted: bool) -> Reply:
        artifact = row.artifact
        with self._store.using(artifact.sha256) as (path,):
            question = Question(
                *(path, artifact.sha256, artifact.size_bytes, row.threads, row.model),
                prepared.pixels[input_spec(row)],
            )
            if is_untrusted:
                return self._replied_locked(question, row.backend)
            return self._answer(self._reader(row.backend), question)

    def _replied_locked(self, question: Question, backend: str | None) -> Reply:
        """Run, in the sandbox, a file made by a process which had opened uploaded pictures.

        They may have taken that process over, so the file is a program of theirs: it is loaded by a
        locked child that ends with this one answer.
        """
        function = "quantcore.playground.reader:run_reader_child"
        reads = (question.path, *folders(question.model))
        with self.locked.started().pool.spawn(function, backend, reads=reads) as child:
            try:
                return _REPLY.validate_python(self._answer(child, question))
            except ValueError as error:
                raise not_an_answer() from error

    def _answer(self, child: Child, question: Question) -> Reply:
        child.send(question)
        reply: Reply = child.receive(should_stop=self._should_stop, timeout_s=ANSWER_TIMEOUT_S)
        return reply

    def _reader(self, backend: str | None) -> Child:
        if backend not in self.children:
            function = "quantcore.playground.reader:run_reader_child"
            self.children[backend] = self._started().spawn(function, backend)
        return self.children[backend]

    def _drop(self, backend: str | None) -> None:
        reader = self.children.pop(backend, None)
        if reader is not None:
            reader.kill()

    def _started(self) -> ProcessPool:
        if self.pool is None or not self.pool.is_alive:
            self.close()
            limit = self._settings.memory_limit_bytes
            self.pool = ProcessPool(PRELOADED_MODULES, limit, calls=self._calls)
        return self.pool


def _unanswered(key: str, error: Exception) -> Unanswered:
    if isinstance(error, QuantcoreError):
        return Unanswered(key, error.reason, error.remedy)
    text = " ".join(str(error).split())[:300]
    return Unanswered(key, f"It could not answer: {type(error).__name__}: {text}", MEASURE)
