"""OpenVINO's files, held against OpenVINO's own API in a process that knows nothing of this one."""

import json
import subprocess
import sys
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from quantcore.backends import BACKENDS, runtime, sqnr_db
from quantcore.engine import provenance
from quantcore.models import Subject, find
from quantcore.sandbox import ProcessPool
from quantcore.schema import (
    CompareRequest,
    ImageSpec,
    MeasureSpec,
    ModelSpec,
    Setting,
    Variant,
    current_environment,
)
from quantcore.workflows import workflow
from tests.support.conversions import Logits, Made

MODEL = ModelSpec("bundled/mobilenet_v2")
PICTURES, SIDE = 24, 32
BACKEND = BACKENDS["openvino"]
# What OpenVINO itself says of a file, unzipped and asked as its documentation tells.
ASK = """
import json, sys
import numpy as np, openvino

folder, precision = sys.argv[1:]
core = openvino.Core()
model = core.read_model(f"{folder}/model.xml")
compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": precision})
layers = [layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops()]
computed = [
    layer["runtimePrecision"].value
    for layer in layers
    if layer["layerType"].value in ("Convolution", "FullyConnected")
]
images = np.load(f"{folder}/images.npy")
np.save(f"{folder}/logits.npy", compiled(images)[0])
print(json.dumps({"layers": computed, "batch": str(model.input(0).partial_shape[0])}))
"""
# Nothing of this imports what the function under test does not.
QUIET = """
import socket, sys
from pathlib import Path

def refuse(*_, **__):
    raise AssertionError("the network was asked")

socket.socket.connect = socket.getaddrinfo = refuse
home = Path(sys.argv[1])
from quantcore.formats import openvino_packages

package, nncf = openvino_packages.openvino(), openvino_packages.nncf()
from openvino.tools.ovc import telemetry_utils
import numpy as np

assert not [name for name in sys.modules if name.startswith("openvino_telemetry.")]
assert telemetry_utils.tm.__name__ == "openvino.tools.ovc.telemetry_stub"
operators = package.opset13
entry = operators.parameter([1, 3, 8, 8], np.float32)
weights = np.random.default_rng(0).random((4, 3, 3, 3), np.float32)
layer = operators.convolution(entry, weights, [1, 1], [0, 0], [0, 0], [1, 1])
model = package.Model([layer], [entry])
pictures = [np.random.default_rng(seed).random((1, 3, 8, 8), np.float32) for seed in range(3)]
nncf.quantize(model, nncf.Dataset(pictures), subset_size=3)
assert not list(home.iterdir()), list(home.iterdir())
"""


def variant(name: str, **settings: Setting) -> Variant:
    quick: dict[str, dict[str, Setting]] = {
        "static": {"calibration_images": 16},
        "qat": {"steps": 2, "batch": 8},
    }
    return Variant(name, "openvino", tuple(sorted((quick.get(name, {}) | settings).items())))


FLOAT, HALF, STATIC, QAT = map(variant, ("float32", "half", "static", "qat"))
REQUEST = CompareRequest(
    MODEL, (FLOAT, HALF, STATIC, QAT), ImageSpec(None, PICTURES, SIDE), MeasureSpec()
)


@dataclass
class Bench:
    """Converts in children, each variant once."""

    pool: ProcessPool
    folder: Path

    def file(self, variant: Variant) -> Path:
        path = self.folder / f"{variant.label} {variant.settings}.zip"
        if not path.exists():
            self.made(variant, path)
        return path

    def made(self, variant: Variant, path: Path) -> Made:
        made: Made = self.run("make", REQUEST, variant, path)
        return made

    def logits(self, variant: Variant) -> Logits:
        logits: Logits = self.run("answer", REQUEST, "openvino", self.file(variant))
        return logits

    def run(self, function: str, *arguments: object) -> Any:
        with self.pool.spawn(f"tests.support.conversions:{function}", *arguments) as child:
            return child.receive(timeout_s=280)


@pytest.fixture(scope="module")
def bench(pool: ProcessPool, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(pool, tmp_path_factory.mktemp("files"))


def pictures() -> Any:
    from quantcore.images import load_images

    return load_images(REQUEST.images, find(MODEL)).evaluation.tensor(PICTURES).contiguous()


def asked(path: Path, folder: Path, precision: str) -> tuple[dict[str, Any], Logits]:
    """Return what OpenVINO says of a file in a fresh process, and its logits."""
    with zipfile.ZipFile(path) as archive:
        archive.extractall(folder)
    np.save(folder / "images.npy", pictures().numpy())
    done = subprocess.run(
        [sys.executable, "-I", "-c", ASK, folder, precision],
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return json.loads(done.stdout), np.load(folder / "logits.npy")


@pytest.mark.parametrize("cell", [FLOAT, HALF, STATIC, QAT], ids=lambda cell: cell.workflow)
def test_openvino_itself_gives_the_same_logits(bench: Bench, cell: Variant, tmp_path: Path) -> None:
    facts, logits = asked(bench.file(cell), tmp_path, "bf16" if cell is HALF else "f32")
    ours = bench.logits(cell)
    assert facts["batch"] == "?"
    # Kernels for any number of pictures round elsewhere than those for a known one.
    noise = sqnr_db(ours, logits)
    assert noise is None or noise > 30


@pytest.mark.parametrize(("cell", "share"), [(FLOAT, 0.0), (HALF, 0.0), (STATIC, 1.0), (QAT, 1.0)])
def test_the_share_in_8_bits_is_that_of_the_layers_that_run(
    bench: Bench, cell: Variant, share: float, tmp_path: Path
) -> None:
    facts, _ = asked(bench.file(cell), tmp_path, "f32")
    eight = [each for each in facts["layers"] if each in ("i8", "u8")]
    assert len(eight) == share * len(facts["layers"])
    whole = BACKEND.float_multiply_adds(bench.file(FLOAT), SIDE, tmp_path)
    left = BACKEND.float_multiply_adds(bench.file(cell), SIDE, tmp_path)
    assert 1 - left / whole == share


def test_the_float_models_multiply_adds_are_torchs(bench: Bench, tmp_path: Path) -> None:
    """Counted by torch's own counter: two operations for each."""
    from torch.utils.flop_counter import FlopCounterMode

    from quantcore import models

    with FlopCounterMode(display=False) as counter:
        models.build(MODEL).eval()(pictures()[:1])
    found = BACKEND.float_multiply_adds(bench.file(FLOAT), SIDE, tmp_path)
    assert 2 * found == counter.get_total_flops()


def test_float32_is_computed_in_float32(bench: Bench) -> None:
    """On processors with bfloat16, OpenVINO's own choice may be that."""
    torchs: Logits = bench.run("make", REQUEST, Variant("float32", None), bench.folder / "t").logits
    noise = sqnr_db(torchs, bench.logits(FLOAT))
    assert noise is None or noise > 100


def test_half_is_half_the_size_and_computes_in_16_bits_where_the_processor_can(
    bench: Bench, tmp_path: Path
) -> None:
    sizes = [bench.file(cell).stat().st_size for cell in (HALF, FLOAT)]
    assert sizes[0] < 0.55 * sizes[1]
    facts, _ = asked(bench.file(HALF), tmp_path, "bf16")
    from quantcore.formats import openvino_packages

    capabilities = (
        openvino_packages.openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    )
    assert set(facts["layers"]) == ({"bf16"} if "BF16" in capabilities else {"f32"})
    noise = sqnr_db(bench.logits(FLOAT), bench.logits(HALF))
    assert noise is not None
    assert noise > 20


def test_a_hint_that_the_processor_cannot_follow_is_no_error(bench: Bench) -> None:
    """`half` asks for bfloat16 on every processor: so it must be no error where there is none."""
    from quantcore.formats import openvino, openvino_packages

    package = openvino_packages.openvino()
    core = package.Core()
    if "FP16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        pytest.skip("This processor computes in float16, so there is no hint it cannot follow.")
    model = openvino.model_of(openvino.read(bench.file(HALF)))
    compiled = core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f16"})
    assert compiled.get_property("INFERENCE_PRECISION_HINT") != package.Type.f16


def test_one_conversion_gives_the_same_bytes_again(bench: Bench, tmp_path: Path) -> None:
    """Whatever was converted before in the same process: OpenVINO numbers its layers through."""
    content = [path.read_bytes() for path in (bench.file(STATIC), tmp_path / "again")[:1]]
    both = bench.pool.spawn(
        "tests.backends.test_openvino:make_twice", REQUEST, STATIC, tmp_path / "again"
    )
    with both as child:
        child.receive(timeout_s=280)
    assert (tmp_path / "again").read_bytes() == content[0]


def make_twice(connection: Any, request: CompareRequest, variant: Variant, path: Path) -> None:
    from tests.support.conversions import make

    for _ in range(2):
        make(connection, request, variant, path)


def test_keep_float_leaves_a_layer_in_float_and_says_which(bench: Bench, tmp_path: Path) -> None:
    kept = variant("static", keep_float=2)
    found = bench.pool.spawn("tests.backends.test_openvino:tuned", REQUEST, kept)
    with found as child:
        tuning = child.receive(timeout_s=280)
    assert len(tuning.kept_float) == 2
    assert tuning.layers == 53
    facts, _ = asked(bench.file(kept), tmp_path, "f32")
    assert facts["layers"].count("f32") == 2
    assert tuning.loss_points is not None


def test_auto_keeps_the_observer_with_the_least_noise(bench: Bench) -> None:
    auto = variant("static", observer="auto")
    with bench.pool.spawn("tests.backends.test_openvino:tuned", REQUEST, auto) as child:
        tuning = child.receive(timeout_s=280)
    assert len(tuning.sqnr_db) > 1
    assert tuning.sqnr_db[tuning.observer] == max(tuning.sqnr_db.values())


def tuned(_: Any, request: CompareRequest, variant: Variant) -> Any:
    from tempfile import TemporaryDirectory

    from quantcore.engine import conversion_input

    chosen = workflow(variant.workflow, dict(variant.settings))
    with TemporaryDirectory() as scratch:
        inputs = conversion_input(request, Path(scratch))
        return chosen.convert(inputs, BACKEND, lambda _stage, _share: None).tuning


def test_activations_that_dip_below_zero_have_ranges_that_do_no_more(
    bench: Bench, tmp_path: Path
) -> None:
    """Hard swish gives -0.375 at the least: symmetric ranges would waste half the codes."""
    from quantcore.formats import openvino

    request = replace(REQUEST, model=ModelSpec("bundled/mobilenet_v3_large"))
    bench.run("make", request, STATIC, tmp_path / "file")
    layers = openvino.model_of(openvino.read(tmp_path / "file")).get_ops()
    lows = [
        each.input_value(1).get_node().data.min()
        for each in layers
        if each.get_type_name() == "FakeQuantize"
        and each.input_value(0).get_node().get_type_name() == "HSwish"
    ]
    assert len(lows) > 5
    assert min(lows) > -0.5


# What is refused


STATIC_WORKFLOW = workflow("static", {})


@pytest.mark.parametrize(
    ("settings", "reason"),
    [({"observer": "entropy"}, "no observer by entropy"), ({"equalize": True}, "balances")],
)
def test_what_nncf_lacks_is_refused(settings: dict[str, Setting], reason: str) -> None:
    subject = Subject(MODEL, find(MODEL), True, current_environment())
    answer = workflow("static", settings).supports(subject, BACKEND)
    assert not answer.ok
    assert reason in answer.reason
    assert answer.remedy


def test_weights_leave_a_bit_free_where_there_are_no_dot_products() -> None:
    here = current_environment()
    old, new = (
        replace(here, machine="x86_64", instruction_sets=sets)
        for sets in (("AVX2",), ("AVX2", "AVX-512 VNNI"))
    )
    chosen = workflow("static", {})
    assert chosen.recipe(BACKEND, old) != chosen.recipe(BACKEND, new)
    explicit = workflow("static", {"reduce_range": True})
    assert explicit.recipe(BACKEND, new) == chosen.recipe(BACKEND, old)
    settings: dict[str, Setting] = {"observer": "minmax", "reduce_range": None}
    assert BACKEND.accuracy_causes(settings, old)
    assert not BACKEND.accuracy_causes(settings, new)
    # Its kernels add in 32 bits, and nothing is left free there.
    assert not BACKEND.accuracy_causes(settings, replace(old, machine="aarch64"))
    assert BACKEND.speed_causes(old)
    assert not BACKEND.speed_causes(new)


def test_an_operator_that_openvino_lacks_is_named(tmp_path: Path) -> None:
    from onnx import TensorProto, helper

    from quantcore.errors import UnsupportedError
    from quantcore.formats import openvino

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 4])
        for name in ("images", "logits")
    ]
    node = helper.make_node("Frobnicate", ["images"], ["logits"], domain="nobody")
    graph = helper.make_graph([node], "model", ends[:1], ends[1:])
    imports = [helper.make_opsetid("", 17), helper.make_opsetid("nobody", 1)]
    model = helper.make_model(graph, opset_imports=imports, ir_version=9)
    with pytest.raises(UnsupportedError, match="Frobnicate") as caught:
        openvino.from_onnx(model, tmp_path)
    assert caught.value.remedy
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("slope", "fuses"), [(1 / 6, True), (0.2, False)])
def test_hard_sigmoids_are_written_as_what_convolutions_take_in(
    tmp_path: Path, slope: float, fuses: bool
) -> None:
    from onnx import TensorProto, helper

    from quantcore.formats import openvino

    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", 5])
        for name in ("images", "logits")
    ]
    node = helper.make_node("HardSigmoid", ["images"], ["logits"], alpha=slope, beta=0.5)
    graph = helper.make_graph([node], "model", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    made = openvino.from_onnx(model, tmp_path)
    kinds = {each.get_type_name() for each in made.get_ops()}
    assert ("HSigmoid" in kinds, "HardSigmoid" in kinds) == (fuses, not fuses)
    given = np.array([[-4.0, -1.0, 0.0, 1.5, 4.0]], np.float32)
    answered = openvino.compiled_for(made, given.shape, 1, half=False)(given)[0]
    np.testing.assert_allclose(answered, np.clip(slope * given + 0.5, 0, 1), rtol=1e-5)


# What is carried, and what is not said


def test_a_file_names_the_version_that_made_it(bench: Bench) -> None:
    wanted = provenance(REQUEST, STATIC)
    assert wanted["libraries"]["openvino"] != "missing"  # type: ignore[index]
    assert runtime("ov") is BACKEND


def test_nothing_is_sent_asked_or_printed(tmp_path: Path) -> None:
    """In a process without pytest, in which NNCF keeps its telemetry quiet by itself."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", QUIET, tmp_path],
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path.cwd())},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
