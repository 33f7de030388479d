"""Small pictures for pages: uploaded ones are not decoded by the web process."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import streamlit as st

from quantcore.images import PictureFile
from quantcore.schema import ImageSpec
from ui.common import state, thumbnails

MODEL = "bundled/mobilenet_v2"
UPLOADED = ImageSpec("upload/" + "a" * 32)


class Locked:
    """Stands for the playground, which has uploaded pictures decoded in a sandbox."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, ...]] = []

    def thumbnails(
        self, images: ImageSpec, model: str, places: Sequence[int], side: int
    ) -> tuple[bytes, ...]:
        assert images == UPLOADED
        self.asked.append(tuple(places))
        return tuple(b"small %d" % place for place in places)


@pytest.fixture
def locked(monkeypatch: pytest.MonkeyPatch) -> Locked:
    found = Locked()
    monkeypatch.setattr(state, "service", lambda: SimpleNamespace(playground=found))
    monkeypatch.setattr(st, "session_state", {})
    return found


def test_uploaded_pictures_are_decoded_in_the_sandbox_once_for_a_page(
    locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: PictureFile) -> None:
        raise AssertionError("decoded where the pages are drawn")

    monkeypatch.setattr(PictureFile, "open", refuse)
    first = thumbnails.addresses("key", UPLOADED, MODEL, [3, 1])
    assert [each.partition(",")[0] for each in first] == ["data:image/png;base64"] * 2
    assert thumbnails.addresses("key", UPLOADED, MODEL, [3, 1]) == first
    assert locked.asked == [(3, 1)]
    thumbnails.addresses("key", UPLOADED, MODEL, [2])
    assert locked.asked == [(3, 1), (2,)]


def test_other_pictures_are_drawn_here(locked: Locked) -> None:
    first, second = thumbnails.addresses("key", ImageSpec(), MODEL, [0, 1])
    assert first.startswith("data:image/png;base64,")
    assert first != second
    assert not locked.asked
