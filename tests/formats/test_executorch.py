"""ExecuTorch's programs: what is read from them, and what is said of them."""

from typing import Any

import pytest

from quantcore.formats.executorch import slow_on_phones
from quantcore.formats.executorch_program import Work
from quantcore.sandbox import ProcessPool
from tests.support.lowering import ROUNDED

TIMEOUT_S = 280
LAYERS = ("convolution", "depthwise", "transposed", "linear", "products")


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a locked child finds, which may start no program, and write into one folder only."""
    folder, function = tmp_path_factory.mktemp("programs"), "tests.support.lowering:all_lowered"
    with (
        ProcessPool(["torch", "tests.support.lowering"], locked=True) as locked,
        locked.spawn(function, folder, writes=(folder,)) as child,
    ):
        answer: dict[str, Any] = child.receive(timeout_s=TIMEOUT_S)
        return answer


@pytest.mark.parametrize("name", LAYERS)
def test_multiply_adds_are_those_that_torch_counts(found: dict[str, Any], name: str) -> None:
    one = found[name]
    assert one["float32"] == one["counted"] > 0
    assert (one["int8"], one["portable"]) == (0, 0)
    assert one["off"] < 1e-5
    assert one["provenance"] == {"name": name, "why": ["ä", 1]}


@pytest.mark.parametrize("name", ROUNDED)
def test_rounded_layers_are_counted_as_such_and_answer_as_the_graph_does(
    found: dict[str, Any], name: str
) -> None:
    one = found[f"{name}, rounded"]
    assert one["int8"] == one["counted"]
    assert (one["float32"], one["portable"]) == (0, 0)
    # One step of 256 at most, where the two round elsewhere.
    assert one["off"] < 2 / 256


def test_what_xnnpack_does_not_run_is_counted_and_named(found: dict[str, Any]) -> None:
    one = found["portable"]
    assert one["portable"] == one["counted"]
    assert "convolution" in one["left"]
    assert one["off"] < 1e-5


@pytest.mark.parametrize(
    ("xnnpack", "plain", "is_slow"), [(90, 10, False), (89, 11, True), (0, 1, True), (0, 0, False)]
)
def test_a_program_that_is_mostly_plain_loops_is_said_to_be_slow(
    xnnpack: int, plain: int, is_slow: bool
) -> None:
    work = Work(0, xnnpack, plain, 0, 2, ("convolution",))
    sentence = slow_on_phones(work.delegated, work.left)
    assert (sentence is not None) == is_slow
    assert sentence is None or ("convolution" in sentence and "slow on phones" in sentence)
