"""A store in an empty folder."""

from collections.abc import Iterator

import pytest

from quantcore.cache import Store
from quantcore.settings import Settings


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    with Store.open(settings) as opened:
        yield opened
