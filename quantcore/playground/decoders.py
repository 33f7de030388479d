"""Pictures that visitors uploaded, decoded by locked children without torch, one at a time."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter

from quantcore import uploads
from quantcore.errors import QuantcoreError
from quantcore.playground.picture import (
    DECODER_MEMORY_BYTES,
    Prepared,
    PreparedMessage,
    unpacked,
)
from quantcore.playground.spec import PlaygroundSpec
from quantcore.sandbox import KeptWorker, ShouldStop, not_an_answer
from quantcore.schema import ImageSpec
from quantcore.settings import Settings

# On a machine that is swamped, a child may wait a minute before it runs.
ANSWER_TIMEOUT_S = 120.0
_MESSAGE = TypeAdapter(PreparedMessage)
_TEXTS = TypeAdapter(tuple[str, ...])


class Decoders:
    """Starts a locked child for each picture. Safe from any thread."""

    def __init__(self, settings: Settings, should_stop: ShouldStop) -> None:
        memory_gb = min(settings.memory_gb, DECODER_MEMORY_BYTES / 1e9)
        limited = replace(settings, memory_gb=memory_gb)
        self.kept = KeptWorker(
            limited, ["quantcore.playground.picture"], [uploads.use_call(settings.data)]
        )
        self._should_stop = should_stop
        self._turn = threading.Lock()

    def prepared(self, spec: PlaygroundSpec) -> Prepared:
        """Return the picture as each model sees it.

        Raises:
            QuantcoreError: it is no picture, or gone, or its decoder broke off.
        """
        function = "quantcore.playground.picture:run_locked_prepare_child"
        arguments = spec.picture, spec.images, spec.input_specs
        models = (model for model, _ in spec.input_specs)
        answer = self._decoded(function, *arguments, reads=folders(spec.images.source, *models))
        try:
            return _MESSAGE.validate_python(answer).prepared(spec.input_specs)
        except ValueError as error:
            raise not_an_answer() from error

    def thumbnails(
        self, images: ImageSpec, model: str, indices: Sequence[int], side: int
    ) -> tuple[bytes, ...]:
        """Return pictures of an evaluation set as PNG files, their longer side `side` px.

        Raises:
            QuantcoreError: they are gone, or one of them cannot be read.
        """
        function = "quantcore.playground.picture:run_thumbnails_child"
        arguments = images, model, tuple(indices), side
        try:
            answer = self._decoded(function, *arguments, reads=folders(images.source, model))
            return unpacked(_TEXTS.validate_python(answer), len(indices))
        except QuantcoreError:
            raise
        # Any other answer of such a child is refused.
        except Exception as error:
            raise not_an_answer() from error

    def close(self) -> None:
        """End the process that starts the children."""
        with self._turn:
            self.kept.close()

    def _decoded(self, function: str, *arguments: object, reads: Sequence[Path]) -> object:
        """Return the answer of a sandboxed child that may read these uploads."""
        with self._turn:
            pool = self.kept.started().pool
            with pool.spawn(function, *arguments, reads=reads) as child:
                return child.receive(should_stop=self._should_stop, timeout_s=ANSWER_TIMEOUT_S)


def folders(*names: str | None) -> tuple[Path, ...]:
    """Return the folders of those that are uploads, each once."""
    uploaded = dict.fromkeys(name for name in names if name is not None and uploads.is_named(name))
    return tuple(map(uploads.folder, uploaded))
