"""What every workflow promises on every backend, and what their settings change."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from quantcore.backends import BACKENDS, float_backends, runtime
from quantcore.cache import Store
from quantcore.engine import FLOAT32, CellContext, context, plan, refusals, stages
from quantcore.engine.keys import recipe_key
from quantcore.errors import CancelledError, RequestError
from quantcore.models import Subject, bundled_file, find
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
from quantcore.schema.environment import ENGINES_BY_MACHINE
from quantcore.settings import Settings
from quantcore.workflows import WORKFLOWS, settings_of, workflow
from tests.support.conversions import Logits, Made

MODEL = ModelSpec("bundled/mobilenet_v2")
PICTURES_A_CLASS = 8
EVALUATION = 24
# Settings that decide how long a conversion takes, of whichever workflow has them.
SMALL: dict[str, Setting] = {"calibration_images": 8, "steps": 2, "batch": 8}
QUICK: dict[str, dict[str, Setting]] = {
    name: {each.name: SMALL[each.name] for each in fields(kind) if each.name in SMALL}  # type: ignore[arg-type]
    for name, kind in WORKFLOWS.items()
}
FLOATS = [Variant("float32", name) for name in float_backends(BACKENDS)]
GRID = [
    *FLOATS,
    *(
        Variant(name, backend, tuple(sorted(QUICK.get(name, {}).items())))
        for name, backend in product(WORKFLOWS, BACKENDS)
        if name != FLOAT32.workflow
    ),
]
REFUSED = refusals(CompareRequest(MODEL, tuple(GRID)))
POSSIBLE = [variant for variant in GRID if variant not in REFUSED]
# Backends that run torch's own modules, and the cells of theirs.
ENGINES = [name for name, backend in BACKENDS.items() if backend.toolchain.makes_modules]
MODULES = [each for each in POSSIBLE if each.backend in (None, *ENGINES)]
TIMEOUT_S = 280


def label(value: object) -> str | None:
    return value.label if isinstance(value, Variant) else None


def variant(name: str, backend: str, **settings: Setting) -> Variant:
    return Variant(name, backend, tuple(sorted((QUICK.get(name, {}) | settings).items())))


@dataclass
class Bench:
    """Converts in children, each variant once, and answers for files in others."""

    pool: ProcessPool
    folder: Path
    request: CompareRequest
    made: dict[Variant, Made] = field(default_factory=dict)

    def convert(self, variant: Variant) -> Made:
        if variant not in self.made:
            self.made[variant] = self.run("make", self.request, variant, self.file(variant))
        return self.made[variant]

    def file(self, variant: Variant) -> Path:
        settings = "-".join(f"{key}={value}" for key, value in variant.settings)
        return self.folder / f"{variant.label} {settings}"

    def answer(self, backend: str | None, path: Path) -> Logits:
        logits: Logits = self.run("answer", self.request, backend, path)
        return logits

    def run(self, function: str, *arguments: object) -> Any:
        with self.pool.spawn(f"tests.support.conversions:{function}", *arguments) as child:
            return child.receive(timeout_s=TIMEOUT_S)


@pytest.fixture(scope="module")
def request_(tmp_path_factory: pytest.TempPathFactory) -> CompareRequest:
    """The grid on a few labelled pictures, so that conversions take a second, not a minute."""
    folder = tmp_path_factory.mktemp("pictures")
    with np.load(bundled_file("fashion_mnist/evaluation.npz")) as file:
        pictures, labels = file["images"], file["labels"]
    for label in range(10):
        (folder / str(label)).mkdir()
        for index in np.flatnonzero(labels == label)[:PICTURES_A_CLASS]:
            Image.fromarray(pictures[index]).save(folder / str(label) / f"{index}.png")
    images = ImageSpec(str(folder), EVALUATION, image_size=32)
    return CompareRequest(MODEL, tuple(GRID), images, MeasureSpec())


@pytest.fixture(scope="module")
def bench(
    pool: ProcessPool, request_: CompareRequest, tmp_path_factory: pytest.TempPathFactory
) -> Bench:
    return Bench(pool, tmp_path_factory.mktemp("files"), request_)


@pytest.fixture
def job(
    pool: ProcessPool, request_: CompareRequest, settings: Settings
) -> Iterator[Callable[[context.ReportStage], CellContext]]:
    """A function that makes the job of one cell with a progress function of its own."""
    with Store.open(settings) as store:
        yield lambda report: CellContext(request_, settings, store, pool, report, lambda: False)


# Which cells there are


def test_the_grid_is_every_workflow_on_every_backend_and_their_floats() -> None:
    assert len(GRID) == len(FLOATS) + (len(WORKFLOWS) - 1) * len(BACKENDS)
    assert set(plan(MODEL, list(WORKFLOWS), list(BACKENDS), QUICK).variants) == set(GRID)


@pytest.mark.parametrize("cell", GRID, ids=label)
def test_a_cell_is_possible_or_says_why_not_and_what_instead(cell: Variant) -> None:
    made = workflow(cell.workflow, dict(cell.settings))
    subject = Subject(MODEL, find(MODEL), True, current_environment())
    support = made.supports(subject, runtime(cell.backend))
    assert support.ok == (cell in POSSIBLE)
    assert support.ok or (support.reason and support.remedy)


def test_of_mobilenet_only_cells_without_a_step_kernels_or_a_checkpoint_are_missing() -> None:
    published = find(MODEL).pretrained_engines
    slow = [] if current_environment().has_bfloat16 else ["half on onednn"]
    missing = [
        cell
        for cell in GRID
        if cell.workflow not in runtime(cell.backend).toolchain.steps
        or (cell.workflow == "pretrained" and runtime(cell.backend).engine not in published)
        or cell.label in slow
    ]
    assert list(REFUSED) == missing


@pytest.mark.parametrize("name", BACKENDS)
def test_where_a_toolchain_has_no_such_step_others_of_its_own_are_named(name: str) -> None:
    backend = BACKENDS[name]
    subject = Subject(MODEL, find(MODEL), True, current_environment())
    lacking = [each for each in WORKFLOWS if each not in backend.toolchain.steps]
    for each in lacking:
        remedy = workflow(each, {}).supports(subject, backend).remedy
        named = set(remedy.replace(",", "").split()) & set(WORKFLOWS)
        assert named
        assert named <= set(backend.toolchain.steps)


# What a possible cell promises


@pytest.mark.parametrize("cell", POSSIBLE, ids=label)
def test_the_file_answers_in_a_fresh_process_as_the_module_did(bench: Bench, cell: Variant) -> None:
    before = bench.convert(cell).logits
    after = bench.answer(cell.backend, bench.file(cell))
    assert after.shape == (EVALUATION, 10)
    # Layers left in float are fused after loading, which rounds elsewhere.
    np.testing.assert_allclose(after, before, atol=0.02 * np.abs(before).max())
    assert (after.argmax(1) == before.argmax(1)).sum() >= EVALUATION - 1


@pytest.mark.parametrize("cell", POSSIBLE, ids=label)
def test_the_file_names_its_variant_and_its_engine(bench: Bench, cell: Variant) -> None:
    bench.convert(cell)
    carried = bench.run("metadata", cell.backend, bench.file(cell))
    assert carried["variant"] == cell.label
    assert carried.get("engine") == runtime(cell.backend).engine


@pytest.mark.parametrize("report", [1, 2])
@pytest.mark.parametrize("name", WORKFLOWS)
def test_what_a_progress_report_raises_ends_the_conversion(
    bench: Bench, name: str, report: int
) -> None:
    cell = next(each for each in POSSIBLE if each.workflow == name)
    # Only a conversion of one step may be over before it is stopped a second time.
    outcome = bench.run("stop_at", bench.request, cell, report)
    assert outcome == f"cancelled at report {report}" or (outcome == 1 and report == 2)


@pytest.mark.parametrize("report", [1, 2])
@pytest.mark.parametrize("name", WORKFLOWS)
def test_a_cell_cancelled_in_mid_conversion_leaves_nothing(
    job: Callable[[context.ReportStage], CellContext], name: str, report: int
) -> None:
    cell = next(each for each in POSSIBLE if each.workflow == name)
    reports: list[str] = []

    def cancel(stage: str, _share: float) -> None:
        reports.append(stage)
        if len(reports) == report:
            raise CancelledError("Cancelled.")

    cancelled = job(cancel)
    with pytest.raises(CancelledError):
        stages.convert(cancelled, cell, 0.0, 1.0)
    assert len(reports) == report
    assert cancelled.store.maintenance.entries() == []
    found = cancelled.store.maintenance.verify()
    assert (found.damaged, found.missing) == ((), ())


# Which conversions are the same


@pytest.mark.parametrize("name", ["pretrained", "static", "qat"])
def test_x86_and_fbgemm_share_their_numbers(bench: Bench, name: str) -> None:
    x86, fbgemm = (bench.convert(variant(name, backend)) for backend in ("x86", "fbgemm"))
    assert x86.state == fbgemm.state


def test_one_training_serves_onednn_too(bench: Bench) -> None:
    x86, onednn = (bench.convert(variant("qat", backend)) for backend in ("x86", "onednn"))
    assert x86.state == onednn.state


@pytest.mark.parametrize(
    ("name", "other"), [("static", "onednn"), ("static", "qnnpack"), ("qat", "qnnpack")]
)
def test_backends_with_other_ranges_have_other_numbers(bench: Bench, name: str, other: str) -> None:
    assert bench.convert(variant(name, "x86")).state != bench.convert(variant(name, other)).state


def test_dynamic_gives_one_model_for_all_of_torchs_engines(bench: Bench) -> None:
    states = {bench.convert(variant("dynamic", backend)).state for backend in ENGINES}
    assert len(states) == 1


def test_backends_share_a_recipe_exactly_where_they_share_their_numbers(bench: Bench) -> None:
    recipes: dict[str, set[str]] = {}
    for cell in MODULES:
        recipes.setdefault(recipe_key(bench.request, cell), set()).add(bench.convert(cell).state)
    states = list(recipes.values())
    assert all(len(each) == 1 for each in states)
    assert len(set.union(*states)) == len(states)


def test_a_recipe_with_one_name_is_one_conversion_whatever_makes_the_file(bench: Bench) -> None:
    keys: dict[tuple[str, str], set[str]] = {}
    toolchains: dict[tuple[str, str], set[str]] = {}
    for cell in POSSIBLE:
        backend = runtime(cell.backend)
        recipe = workflow(cell.workflow, dict(cell.settings)).recipe(backend, current_environment())
        name = cell.workflow, recipe.name
        keys.setdefault(name, set()).add(recipe_key(bench.request, cell))
        toolchains.setdefault(name, set()).add(backend.toolchain.name)
    assert all(len(each) == 1 for each in keys.values())
    assert max(map(len, toolchains.values())) > 1, "no recipe is shared between toolchains"


@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("static", "x86", "fbgemm"),
        ("qat", "fbgemm", "x86"),
        ("dynamic", "x86", "onednn"),
        ("dynamic", "x86", "qnnpack"),
        ("dynamic", "qnnpack", "fbgemm"),
    ],
)
def test_a_relabelled_file_answers_as_one_made_for_its_backend(
    bench: Bench, name: str, source: str, target: str
) -> None:
    path = bench.folder / f"{name} {source} as {target}"
    for backend in (source, target):
        bench.convert(variant(name, backend))
    bench.run("relabel", bench.file(variant(name, source)), target, path)
    direct = bench.answer(target, bench.file(variant(name, target)))
    np.testing.assert_array_equal(bench.answer(target, path), direct)
    assert bench.run("metadata", target, path) == {"engine": target}


# Settings


@pytest.mark.parametrize(
    "changed",
    [
        variant("static", "x86", per_channel=False),
        variant("static", "x86", observer="minmax"),
        variant("static", "x86", observer="percentile"),
        variant("static", "x86", bias_correction=False),
        variant("static", "x86", keep_float=1),
        variant("static", "qnnpack", reduce_range=True),
        variant("static", "x86", calibration_images=9),
        variant("static", "qnnpack", per_channel=True),
        variant("static", "qnnpack", equalize=False),
        variant("qat", "x86", per_channel=False),
        variant("dynamic", "x86", dtype="float16"),
        variant("static", "onnxruntime", per_channel=False),
        variant("static", "onnxruntime", calibration_images=9),
        variant("static", "openvino", per_channel=False),
        variant("static", "openvino", calibration_images=9),
        variant("static", "openvino", observer="percentile"),
        variant("static", "openvino", reduce_range=True),
        variant("static", "openvino", bias_correction=False),
        variant("static", "openvino", keep_float=1),
    ],
    ids=lambda value: f"{value.label} {value.settings[-1]}",
)
def test_a_setting_changes_the_numbers(bench: Bench, changed: Variant) -> None:
    assert changed.backend is not None
    usual = bench.convert(variant(changed.workflow, changed.backend))
    assert bench.convert(changed).state != usual.state


@pytest.mark.parametrize(
    "cell",
    [
        variant("static", "x86", keep_float=2, observer="minmax"),
        variant("static", "qnnpack", bias_correction=True),
    ],
    ids=lambda value: f"{value.label} {value.settings[0]}",
)
def test_a_conversion_is_made_again_from_its_state(bench: Bench, cell: Variant) -> None:
    first = bench.convert(cell)
    again = bench.folder / f"{cell.label} again"
    state = bench.file(cell).with_suffix(".state")
    second: Made = bench.run("make", bench.request, cell, again, state)
    assert second.state == first.state
    np.testing.assert_array_equal(second.logits, first.logits)


def test_with_fewer_bits_onednn_has_the_numbers_of_x86(bench: Bench) -> None:
    reduced = bench.convert(variant("static", "onednn", reduce_range=True))
    assert reduced.state == bench.convert(variant("static", "x86")).state


@pytest.mark.parametrize("backend", ["x86", "fbgemm"])
def test_ranges_that_overflow_are_refused(backend: str) -> None:
    request = plan(MODEL, ["static"], [backend], {"static": {"reduce_range": False}})
    (refused,) = refusals(request).values()
    assert "overflow" in refused.reason
    assert "onednn" in refused.remedy


def test_auto_takes_the_observer_that_answers_best(bench: Bench) -> None:
    made = bench.convert(variant("static", "x86", observer="auto"))
    assert made.tuning is not None
    assert made.tuning.sqnr_db[made.tuning.observer] == max(made.tuning.sqnr_db.values())
    assert set(made.tuning.sqnr_db) == {"histogram", "minmax", "percentile"}


@pytest.mark.parametrize(
    "backend", [name for name, each in BACKENDS.items() if "static" in each.toolchain.steps]
)
def test_ranges_are_found_as_the_settings_say(bench: Bench, backend: str) -> None:
    cell = variant("static", backend)
    tuning, said = bench.convert(cell).tuning, settings_of(cell)["observer"]
    assert tuning is not None
    assert said in (tuning.observer, "auto")
    assert bool(tuning.sqnr_db) == (said == "auto")


def test_layers_stay_in_float_by_number_and_until_a_loss_is_met(bench: Bench) -> None:
    two = bench.convert(variant("static", "x86", keep_float=2, observer="minmax")).tuning
    auto = bench.convert(variant("static", "x86", keep_float="auto", max_loss_points=99.0)).tuning
    assert two is not None
    assert auto is not None
    assert len(two.kept_float) == 2 < two.layers
    assert auto.kept_float == ()
    assert auto.loss_points is not None


def test_per_channel_is_x86s_default_and_not_qnnpacks(bench: Bench) -> None:
    for backend, default in (("x86", True), ("qnnpack", False)):
        explicit = bench.convert(variant("static", backend, per_channel=default))
        assert explicit.state == bench.convert(variant("static", backend)).state


@pytest.mark.parametrize(
    "backend", [name for name, each in BACKENDS.items() if "dynamic" in each.toolchain.steps]
)
def test_float16_is_refused_where_there_are_no_kernels(backend: str) -> None:
    request = plan(MODEL, ["dynamic"], [backend], {"dynamic": {"dtype": "float16"}})
    refused = list(refusals(request).values())
    assert bool(refused) != getattr(BACKENDS[backend], "takes_float16", False)
    for each in refused:
        assert "float16" in each.reason
        assert "qint8" in each.remedy


def test_layers_may_be_named_one_by_one(bench: Bench) -> None:
    by_type = bench.convert(variant("dynamic", "x86"))
    by_name = bench.convert(variant("dynamic", "x86", layers=("classifier.1",)))
    assert by_name.state == by_type.state


def test_a_layer_that_is_not_there_is_named(bench: Bench) -> None:
    with pytest.raises(RequestError, match=r"no submodule 'classifier\.9'"):
        bench.convert(variant("dynamic", "x86", layers=("classifier.9",)))


def test_calibrating_on_nothing_is_refused_with_why() -> None:
    with pytest.raises(RequestError, match="Calibration needs pictures") as caught:
        plan(MODEL, ["static"], ["x86"], {"static": {"calibration_images": 0}})
    assert "at least 1" in caught.value.remedy


@pytest.mark.parametrize(
    ("name", "settings", "reason", "remedy"),
    [
        ("static", {"obsever": "minmax"}, "Did you mean 'observer'", "calibration_images"),
        ("statik", {}, "Did you mean 'static'", "pretrained"),
        ("static", {"observer": "median"}, "static.observer cannot be 'median'", "histogram"),
        ("qat", {"steps": 0}, "cannot train 0 steps", "at least 1"),
        ("dynamic", {"layers": ()}, "no layers", "Linear"),
        ("float32", {"steps": 1}, "no setting 'steps'", "It has none"),
    ],
)
def test_an_unknown_setting_of_a_workflow_is_refused_with_the_nearest(
    name: str, settings: dict[str, Setting], reason: str, remedy: str
) -> None:
    with pytest.raises(RequestError) as caught:
        workflow(name, settings)
    assert reason in caught.value.reason
    assert remedy in caught.value.remedy


def test_an_unknown_backend_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean 'qnnpack'") as caught:
        plan(MODEL, ["static"], ["qnpack"])
    assert ", ".join(BACKENDS) in caught.value.remedy


# What torch says


# The engines of torch that QAT trains for: the backend's own, or those whose training it shares.
TRAINED_FOR = {"onnxruntime": "x86", "openvino": "x86", "executorch": None}


@pytest.mark.parametrize("machine", list(ENGINES_BY_MACHINE))
@pytest.mark.parametrize("backend", list(BACKENDS))
def test_training_is_refused_where_torch_has_no_engine_for_it(machine: str, backend: str) -> None:
    engines = ENGINES_BY_MACHINE[machine]
    environment = replace(current_environment(), machine=machine, engines=engines)
    subject = Subject(MODEL, find(MODEL), True, environment)
    answer = WORKFLOWS["qat"]().supports(subject, runtime(backend))
    needed = TRAINED_FOR.get(backend, runtime(backend).engine)
    assert answer.ok == (needed is None or needed in engines)
    assert answer.ok or (machine in answer.reason and answer.remedy)


def test_the_engines_of_this_machine_are_those_torch_has() -> None:
    import torch

    environment = current_environment()
    assert environment.machine in ENGINES_BY_MACHINE
    assert set(environment.engines) == set(torch.backends.quantized.supported_engines) - {"none"}
    assert {BACKENDS[name].engine for name in ENGINES} <= set(ENGINES_BY_MACHINE["x86_64"])
