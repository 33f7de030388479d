"""One picture asked of every variant: how it is read, who answers, and who may fall over."""

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from quantcore.cache import Store, locks
from quantcore.engine import FLOAT32
from quantcore.errors import RequestError
from quantcore.images import load_images
from quantcore.models import find
from quantcore.playground import (
    MAX_BYTES,
    Answer,
    Picture,
    Playground,
    PlaygroundSpec,
    PlaygroundView,
    Unanswered,
    check,
)
from quantcore.playground import service as module
from quantcore.playground.picture import Prepared
from quantcore.sandbox import ProcessPool
from quantcore.schema import ImageSpec, VariantResult
from quantcore.settings import Settings
from tests.support import fixtures
from tests.support.exports import MOBILENET, Bench, planned, static
from tests.support.processes import is_gone, soon

SIGHT = ("bundled/mobilenet_v2", 64)
IMAGES = ImageSpec(evaluation_images=24)
WITHIN_S = 120.0

Read = Callable[..., Prepared]


def encoded(picture: Image.Image, format: str = "PNG", **options: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format=format, **options)
    return buffer.getvalue()


def halves(mode: str = "RGB", size: tuple[int, int] = (80, 60)) -> Image.Image:
    """Return a picture whose left half is white and whose right half is black."""
    picture = Image.new(mode, size, 0)
    picture.paste(Image.new("L", (size[0] // 2, size[1]), 255).convert(mode), (0, 0))
    return picture


# Reading


@pytest.fixture
def read(pool: ProcessPool) -> Read:
    def read(picture: Picture, input_specs: tuple[Any, ...] = (SIGHT,)) -> Prepared:
        with pool.spawn(
            "quantcore.playground.picture:run_prepare_child", picture, IMAGES, input_specs
        ) as child:
            prepared: Prepared = child.receive(timeout_s=60)
        return prepared

    return read


def turned() -> bytes:
    """Return a JPEG whose camera was held upside down."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return encoded(halves(), "JPEG", exif=exif)


@pytest.mark.parametrize(
    ("content", "is_left_bright"),
    [
        (encoded(halves()), True),
        (encoded(halves(), "WEBP", lossless=True), True),
        (encoded(halves("L"), "JPEG"), True),
        (encoded(halves("1")), True),
        (turned(), False),
        (encoded(Image.fromarray(np.uint16([[65_535] * 40 + [0] * 40] * 60))), True),
    ],
    ids=["png", "webp", "grey jpeg", "one bit", "upside down", "sixteen bits"],
)
def test_pictures_are_read_upright_whatever_their_kind(
    read: Read, content: bytes, is_left_bright: bool
) -> None:
    prepared = read(content)
    pixels = prepared.pixels[SIGHT]
    assert pixels.shape == (3, 64, 64)
    assert pixels.dtype == np.float32
    assert (pixels[:, :, 8].mean() > pixels[:, :, -8].mean()) == is_left_bright
    assert prepared.seen.sides == (80, 60)
    assert prepared.seen.label is None
    with Image.open(io.BytesIO(prepared.seen.by_model)) as seen:
        assert seen.size == (64, 64)


def test_what_is_transparent_is_white(read: Read) -> None:
    prepared = read(encoded(Image.new("RGBA", (64, 64), (0, 0, 0, 0))))
    assert prepared.pixels[SIGHT].min() > 0


def test_of_an_animation_the_first_picture_is_asked_and_that_is_said(read: Read) -> None:
    frames = [halves(), halves().transpose(Image.Transpose.FLIP_LEFT_RIGHT)]
    moving = encoded(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    prepared = read(moving)
    assert "animation" in prepared.seen.note
    assert prepared.pixels[SIGHT][:, :, 8].mean() > prepared.pixels[SIGHT][:, :, -8].mean()
    assert read(encoded(halves())).seen.note == ""


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"hello, I am a text", "not a JPEG, PNG or WebP picture"),
        (encoded(halves(), "GIF"), "not a JPEG, PNG or WebP picture"),
        (encoded(halves(), "TIFF"), "not a JPEG, PNG or WebP picture"),
        (b"%PDF-1.7", "not a JPEG, PNG or WebP picture"),
        (encoded(halves())[:-40], "cannot be read as a picture"),
        (encoded(halves(size=(900, 900)), "JPEG")[:2_000], "cannot be read as a picture"),
        (encoded(Image.new("1", (9_000, 9_000))), "pixels are too many"),
    ],
    ids=["text", "gif", "tiff", "pdf", "cut png", "cut jpeg", "too many pixels"],
)
def test_what_is_no_picture_is_refused_in_a_sentence(
    read: Read, content: bytes, reason: str
) -> None:
    with pytest.raises(RequestError, match=reason) as caught:
        read(content)
    assert caught.value.remedy


def test_a_picture_that_judged_the_variants_is_the_very_same_with_its_class(read: Read) -> None:
    prepared = read(0, (SIGHT, ("bundled/mobilenet_v2", 48)))
    data = load_images(IMAGES, find(MOBILENET))
    assert data.evaluation.labels is not None
    assert prepared.seen.label == data.class_names[data.evaluation.labels[0]]
    assert prepared.seen.sides == (28, 28)
    assert prepared.pixels["bundled/mobilenet_v2", 48].shape == (3, 48, 48)
    with pytest.raises(RequestError, match="There is no picture 25"):
        read(24)


@pytest.mark.parametrize(
    ("picture", "reason"), [(b"", "0 bytes"), (b"x" * (MAX_BYTES + 1), "20 MB is the most")]
)
def test_size_is_looked_at_first(picture: bytes, reason: str) -> None:
    with pytest.raises(RequestError, match=reason):
        check(picture)


# Asking


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings with one data folder for the whole module."""
    return Settings(data=tmp_path_factory.mktemp("playground") / "data", quota_gb=1.0, threads=1)


@pytest.fixture(scope="module")
def bench(settings: Settings, pool: ProcessPool) -> Iterator[Bench]:
    with Store.open(settings) as store:
        yield Bench(pool, settings, store)


@pytest.fixture(scope="module")
def rows(bench: Bench) -> tuple[VariantResult, ...]:
    """Two variants whose files are here, and one whose file is not."""
    files = [
        bench.conversion(planned(MOBILENET, variant, "torchscript")).artifact
        for variant in (FLOAT32, static("x86"))
    ]
    found = (fixtures.float32(), fixtures.result("static", "x86"))
    here = [replace(row, artifact=file) for row, file in zip(found, files, strict=True)]
    return (*here, fixtures.result("static", "qnnpack"))


@pytest.fixture(scope="module")
def asking(bench: Bench, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Playground]:
    lock = tmp_path_factory.mktemp("lock") / "machine.lock"
    playground = Playground(bench.settings, bench.store, lock)
    yield playground
    playground.close()


def done(
    playground: Playground, rows: tuple[VariantResult, ...], picture: Picture
) -> PlaygroundView:
    view = playground.wait(playground.start(PlaygroundSpec(rows, IMAGES, picture)), WITHIN_S)
    assert not view.is_open
    return view


def pids(playground: Playground) -> list[int]:
    return [child.pid for child in playground.readers.children.values()]


def test_every_file_that_is_here_answers_as_it_was_judged_and_the_others_say_why(
    asking: Playground, bench: Bench, rows: tuple[VariantResult, ...]
) -> None:
    view = done(asking, rows, 3)
    assert view.state == "done", view.problem
    exact, static_x86, missing = view.answers
    for answer, variant in ((exact, FLOAT32), (static_x86, static("x86"))):
        assert isinstance(answer, Answer)
        logits = bench.variant_logits(planned(MOBILENET, variant, "torchscript"))[3]
        assert [guess.index for guess in answer.guesses] == list(np.argsort(-logits)[:5])
        shares = np.exp(logits - logits.max())
        assert answer.guesses[0].share == pytest.approx(shares.max() / shares.sum(), abs=0.01)
        assert 0 < answer.latency_ms < 10_000
    assert isinstance(missing, Unanswered)
    assert "not on this machine" in missing.reason
    assert view.seen is not None
    assert view.seen.label is not None


def test_readers_stay_for_the_next_picture_and_end_when_none_comes(
    asking: Playground, rows: tuple[VariantResult, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    done(asking, rows, 0)
    before = pids(asking)
    assert len(before) == 2
    done(asking, rows, encoded(halves()))
    assert pids(asking) == before
    monkeypatch.setattr(asking, "limits", replace(asking.limits, idle_s=0.05))
    done(asking, rows, 1)
    assert soon(lambda: all(map(is_gone, before)))
    assert soon(lambda: not asking.readers.children)
    monkeypatch.undo()
    assert done(asking, rows, 1).state == "done"


def test_nothing_is_written_of_a_picture_that_somebody_brings(
    asking: Playground, bench: Bench, rows: tuple[VariantResult, ...]
) -> None:
    done(asking, rows, 0)
    before = files(bench.settings.data)
    assert done(asking, rows, encoded(halves())).state == "done"
    assert files(bench.settings.data) == before


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if path.is_file() and "facts" not in path.name}


def test_it_waits_while_the_machine_measures_and_says_so(
    asking: Playground, rows: tuple[VariantResult, ...]
) -> None:
    with locks.exclusive(asking._lock):
        first = asking.start(PlaygroundSpec(rows, IMAGES, 0))
        assert soon(lambda: stage(asking, first) == module.WAITS)
        second = asking.start(PlaygroundSpec(rows, IMAGES, 1))
        assert stage(asking, second) == module.IN_LINE
        asking.cancel(first)
        assert asking.wait(first, 10).state == "cancelled"
        assert asking.wait(second, 0.0).state == "waiting"
    assert asking.wait(second, WITHIN_S).state == "done"


def stage(playground: Playground, run_id: str) -> str:
    return playground.wait(run_id, 0.0).stage


def test_a_reader_that_is_killed_costs_its_answers_only(
    asking: Playground, rows: tuple[VariantResult, ...]
) -> None:
    done(asking, rows, 0)
    psutil.Process(asking.readers.children["x86"].pid).kill()
    exact, lost, _ = done(asking, rows, 0).answers
    assert isinstance(exact, Answer)
    assert isinstance(lost, Unanswered)
    assert "SIGKILL" in lost.reason
    assert isinstance(done(asking, rows, 0).answers[1], Answer)


def test_a_file_that_does_not_run_says_so_on_its_card(
    asking: Playground, bench: Bench, rows: tuple[VariantResult, ...]
) -> None:
    broken = bench.store.add(lambda path: path.write_bytes(b"no model"), "torchscript")
    view = done(asking, (rows[0], replace(rows[1], artifact=broken)), 0)
    assert isinstance(view.answers[0], Answer)
    assert isinstance(view.answers[1], Unanswered)
    assert "It could not answer" in view.answers[1].reason


def test_when_everything_is_killed_the_next_picture_starts_it_anew(
    asking: Playground, rows: tuple[VariantResult, ...]
) -> None:
    done(asking, rows, 0)
    assert asking.readers.pool is not None
    asking.readers.pool.close()
    view = done(asking, rows, 0)
    assert isinstance(view.answers[0], Answer)


def test_a_picture_that_cannot_be_read_has_no_answers(
    asking: Playground, rows: tuple[VariantResult, ...]
) -> None:
    view = done(asking, rows, b"no picture")
    assert view.state == "failed"
    assert view.problem is not None
    assert "not a JPEG" in view.problem.reason
    assert view.answers == ()
    with pytest.raises(RequestError):
        asking.start(PlaygroundSpec(rows, IMAGES, b""))


def test_what_is_kept_is_bounded_and_who_asks_for_more_is_told(
    asking: Playground, rows: tuple[VariantResult, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "limits", replace(asking.limits, remembered=2))
    ids = []
    for _ in range(4):
        ids.append(asking.start(PlaygroundSpec(rows[2:], IMAGES, 0)))
        asking.wait(ids[-1], WITHIN_S)
    assert asking.view(ids[0]) is None
    assert asking.view(ids[-1]) is not None
    task = asking._tasks[ids[-1]]
    assert not hasattr(task, "spec"), "the picture is kept no longer than it is needed"


def test_whether_anything_can_be_asked_is_known_before(
    asking: Playground, rows: tuple[VariantResult, ...]
) -> None:
    assert asking.are_here(rows)
    assert not asking.are_here(rows[2:])


def test_closing_leaves_no_process(
    bench: Bench, rows: tuple[VariantResult, ...], tmp_path: Path
) -> None:
    playground = Playground(bench.settings, bench.store, tmp_path / "lock")
    done(playground, rows, 0)
    readers = pids(playground)
    assert readers
    assert playground.readers.pool is not None
    pool = playground.readers.pool._process.pid
    playground.close()
    assert soon(lambda: all(map(is_gone, [pool, *readers])))
