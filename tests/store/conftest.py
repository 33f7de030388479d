"""A store in an empty folder."""

from collections.abc import Iterator

import pytest

from quantcore.settings import Settings
from quantcore.store import Store


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened
