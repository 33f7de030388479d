"""Which machines a backend can run on."""

from dataclasses import replace

import pytest

from quantcore.backends import BACKENDS
from quantcore.schema import current_environment

PACKAGES = [(name, each) for name in BACKENDS for each in BACKENDS[name].toolchain.packages]


@pytest.mark.parametrize(("name", "package"), PACKAGES)
def test_a_missing_package_is_named_with_what_installs_it(name: str, package: str) -> None:
    here, backend = current_environment(), BACKENDS[name]
    there = replace(here, libraries={**here.libraries, package: "missing"})
    support = backend.available(there)
    assert backend.available(here).ok
    assert not support.ok
    assert f"{backend.title} needs {package}," in support.reason
    assert "requirements.txt" in support.remedy
