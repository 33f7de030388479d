"""One bench for all tests of formats, so that a variant is converted and written once."""

from collections.abc import Iterator

import pytest

from quantcore.cache import Store
from quantcore.sandbox import ProcessPool
from quantcore.settings import Settings
from tests.support.exports import Bench


@pytest.fixture(scope="session")
def bench(pool: ProcessPool, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    settings = Settings(data=tmp_path_factory.mktemp("exports") / "data", quota_gb=2.0, threads=1)
    with Store.open(settings) as store:
        yield Bench(pool, settings, store)
