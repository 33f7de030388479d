"""What tells machines apart whose figures must not be mixed."""

from dataclasses import replace

import pytest

from quantcore.engine import keys
from quantcore.jobs import worker
from quantcore.schema import (
    TRIED_TORCH,
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Variant,
    current_environment,
    untried_torch,
)
from quantcore.schema.environment import cpu_name

SERVER = {"model name": "Intel(R) Xeon(R)  Gold 6338 CPU @ 2.00GHz"}
# An ARM kernel's fields: numbers of the design, and no name.
CORTEX_A72 = {"Features": "fp asimd", "CPU implementer": "0x41", "CPU part": "0xd08"}
NEOVERSE_N1 = {"Features": "fp asimd asimddp", "CPU implementer": "0x41", "CPU part": "0xd0c"}


@pytest.mark.parametrize(
    ("cpuinfo", "board", "name"),
    [
        (SERVER, "", "Intel Xeon Gold 6338 CPU @ 2.00GHz"),
        (CORTEX_A72, "Raspberry Pi 4 Model B Rev 1.4", "Raspberry Pi 4 Model B Rev 1.4"),
        (CORTEX_A72, "", "aarch64 core 0x41/0xd08"),
        (NEOVERSE_N1, "", "aarch64 core 0x41/0xd0c"),
        ({}, "", "aarch64"),
    ],
    ids=["server", "board", "core without a board", "another core", "nothing known"],
)
def test_a_processor_is_named_by_what_is_known(
    cpuinfo: dict[str, str], board: str, name: str
) -> None:
    assert cpu_name(cpuinfo, board, "aarch64") == name


def test_machines_that_differ_in_anything_are_resources_of_their_own() -> None:
    here = current_environment()
    others = [
        replace(here, cpu="Raspberry Pi 4 Model B Rev 1.4"),
        replace(here, memory_gib=here.memory_gib + 1),
        replace(here, libraries=here.libraries | {"torch": "2.0.0"}),
    ]
    names = {worker.resource(each) for each in (here, *others)}
    assert len(names) == 4
    assert worker.resource(here) == worker.resource(replace(here))


@pytest.mark.parametrize("variant", [Variant("float32", None), Variant("dynamic", "qnnpack")])
def test_the_key_of_a_machine_elsewhere_is_the_one_it_gives_itself(
    monkeypatch: pytest.MonkeyPatch, variant: Variant
) -> None:
    """Else its figures would not be found again the next time."""
    request = CompareRequest(
        ModelSpec("bundled/mobilenet_v2"), (variant,), ImageSpec(None, 16, 32), MeasureSpec()
    )
    libraries = current_environment().libraries | {"torch": "2.13.0+another.build"}
    board = replace(current_environment(), cpu="Cortex-A76", libraries=libraries)
    asked = keys.result_key(request, variant, board)
    assert asked != keys.result_key(request, variant, current_environment())
    monkeypatch.setattr(keys, "current_environment", lambda: board)
    assert keys.result_key(request, variant, board) == asked
    assert keys.conversion_key(request, variant, board) == keys.conversion_key(request, variant)


def test_an_untried_torch_has_a_warning() -> None:
    assert [untried_torch(f"{number}+cpu") for number in TRIED_TORCH] == ["", ""]
    warning = untried_torch("2.99.0")
    assert all(number in warning for number in ("2.99.0", *TRIED_TORCH))
    assert untried_torch() == ""
