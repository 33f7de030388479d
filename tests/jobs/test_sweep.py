"""What a sweep's file may hold, what it comes to, and what is said of mistakes in it."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantcore.backends import default_backends
from quantcore.engine import FLOAT32, plan
from quantcore.errors import RequestError
from quantcore.jobs import Sweep
from quantcore.jobs.sweep import MAX_VARIANTS, labels_of, read_sweep, write_sweep
from quantcore.schema import (
    TARGETS,
    CompareRequest,
    ModelSpec,
    Setting,
    Target,
    current_environment,
)

PROJECT = Path(__file__).parents[2]
MODEL = "bundled/mobilenet_v2"
RANDOM = "torchvision/shufflenet_v2_x0_5@random"


def requests(text: str) -> tuple[CompareRequest, ...]:
    return read_sweep(text, 2, None).requests()


def cells(asked: tuple[CompareRequest, ...]) -> int:
    return sum(len(request.variants) for request in asked)


def conditions(asked: tuple[CompareRequest, ...]) -> list[tuple[str, int | None, int, int]]:
    return [
        (each.model.name, each.images.image_size, each.measure.threads, each.measure.batch)
        for each in asked
    ]


# What it comes to


def test_a_model_alone_is_the_full_grid_with_the_machines_threads() -> None:
    (request,) = requests(f'models = "{MODEL}"')
    assert request.variants == plan(ModelSpec(MODEL)).variants
    assert (request.measure.threads, request.measure.batch) == (2, 1)
    assert request.images.evaluation_images == 2_000


@pytest.mark.parametrize("target", TARGETS)
def test_a_target_chooses_workflows_and_backends_and_is_written_again(target: Target) -> None:
    (request,) = requests(f'models = "{MODEL}"\ntarget = "{target}"')
    assert request.variants == plan(ModelSpec(MODEL), target=target).variants
    assert request.target == target
    written = write_sweep(Sweep((MODEL,), target=target))
    assert read_sweep(written, 1, None) == Sweep((MODEL,), target=target)


def test_each_model_of_a_sweep_for_a_target_has_the_workflows_it_can_have() -> None:
    first, second = requests(f'models = ["{MODEL}", "bundled/row_lstm"]\ntarget = "browser"')
    assert {"static"} <= {each.workflow for each in first.variants}
    assert "static" not in {each.workflow for each in second.variants}


def test_an_unknown_target_is_named_with_the_nearest() -> None:
    with pytest.raises(RequestError, match="Did you mean 'phone'"):
        requests(f'models = "{MODEL}"\ntarget = "phones"')


@pytest.mark.parametrize("kept", ["auto", 0, 3])
def test_layers_kept_in_float_are_a_number_or_auto(kept: object) -> None:
    text = f"""
        models = "{MODEL}"
        workflows = "static"
        backends = "x86"
        [static]
        keep_float = {kept if isinstance(kept, int) else f'"{kept}"'}
    """
    (request,) = requests(text)
    assert dict(request.variants[-1].settings).get("keep_float", 0) == kept


def test_lists_are_multiplied_and_float32_is_there_once_for_each_ground() -> None:
    asked = requests(
        f"""
        models = ["{MODEL}", "bundled/resnet18"]
        workflows = ["dynamic", "static"]
        backends = ["x86", "qnnpack"]
        image_size = ["own", 96]
        threads = [1, 2]
        batch = 4
        [static]
        calibration_images = [32, 256]
        observer = ["histogram", "minmax"]
        """
    )
    assert conditions(asked) == [
        (model, size, threads, 4)
        for model in (MODEL, "bundled/resnet18")
        for size in (None, 96)
        for threads in (1, 2)
    ]
    for request in asked:
        assert request.variants[0] == FLOAT32
        assert request.variants.count(FLOAT32) == 1
        assert len(set(request.variants)) == len(request.variants) == 1 + 2 * (1 + 4)


def test_settings_reach_their_workflow_only() -> None:
    (request,) = requests(
        f"""
        models = "{MODEL}"
        workflows = ["static", "qat", "dynamic"]
        backends = "x86"
        [qat]
        steps = [21, 22]
        [dynamic]
        layers = [["Linear"], ["Linear", "LSTM"]]
        """
    )
    settings = [(each.workflow, each.settings) for each in request.variants[1:]]
    assert settings == [
        ("static", ()),
        ("qat", (("steps", 21),)),
        ("qat", (("steps", 22),)),
        ("dynamic", (("layers", ("Linear",)),)),
        ("dynamic", (("layers", ("Linear", "LSTM")),)),
    ]


def test_a_list_of_layers_is_one_value() -> None:
    (request,) = requests(
        f'models = "{MODEL}"\nworkflows = "dynamic"\nbackends = "x86"\n'
        '[dynamic]\nlayers = ["Linear", "LSTM"]'
    )
    assert len(request.variants) == 2


@pytest.mark.parametrize(
    ("lines", "variants"),
    [
        ('image_size = ["own", 64]', 3),
        ("image_size = [96, 96]", 3),
        ("threads = [1, 1]", 3),
        ('backends = ["x86", "x86"]', 2),
        ("[static]\ncalibration_images = [256]", 3),
        ('[static]\nper_channel = ["default", true, true]', 5),
    ],
)
def test_equal_cells_are_asked_once(lines: str, variants: int) -> None:
    chosen = "" if "backends" in lines else 'backends = ["x86", "qnnpack"]\n'
    asked = requests(f'models = "{MODEL}"\nworkflows = "static"\n{chosen}{lines}')
    assert cells(asked) == variants


def test_random_weights_are_judged_on_nothing_so_once() -> None:
    text = f'models = ["{RANDOM}", "{MODEL}"]\nworkflows = "static"\nbackends = "x86"\n'
    asked = requests(text + "evaluation_images = [500, 2000]")
    assert [each.model.name for each in asked] == [RANDOM, MODEL, MODEL]


def test_cells_are_distinguished_by_what_varies() -> None:
    asked = requests(
        f"""
        models = ["{MODEL}", "bundled/resnet18"]
        workflows = ["static", "dynamic"]
        backends = "x86"
        image_size = ["own", 96]
        [static]
        per_channel = ["default", false]
        """
    )
    names = labels_of(asked)
    assert len(names) == len(set(names)) == cells(asked)
    assert names[:4] == [
        f"float32 ({MODEL}, 64 px)",
        f"static on x86 ({MODEL}, 64 px, per channel default)",
        f"static on x86 ({MODEL}, 64 px, per channel no)",
        f"dynamic on x86 ({MODEL}, 64 px)",
    ]


def test_one_plain_comparison_has_plain_names() -> None:
    assert labels_of(requests(f'models = "{MODEL}"'))[:3] == [
        "float32",
        "float32 on onnxruntime",
        "float32 on openvino",
    ]


# How it is written


SETTINGS: dict[str, dict[str, st.SearchStrategy[Setting]]] = {
    "static": {
        "calibration_images": st.integers(1, 1_000),
        "observer": st.sampled_from(["histogram", "minmax"]),
        "per_channel": st.sampled_from([None, True, False]),
    },
    "dynamic": {
        "layers": st.sampled_from([("Linear",), ("Linear", "GRU")]),
        "dtype": st.sampled_from(["qint8", "float16"]),
    },
    "qat": {"learning_rate": st.floats(1e-6, 1), "steps": st.integers(1, 200)},
}


def lists(values: st.SearchStrategy[Setting]) -> st.SearchStrategy[tuple[Setting, ...]]:
    return st.lists(values, min_size=1, max_size=3).map(tuple)


@st.composite
def sweeps(draw: st.DrawFn) -> Sweep:
    settings = {
        name: draw(st.fixed_dictionaries({}, optional={k: lists(v) for k, v in known.items()}))
        for name, known in SETTINGS.items()
    }
    return Sweep(
        models=draw(lists(st.sampled_from([MODEL, "bundled/row_lstm", RANDOM]))),  # type: ignore[arg-type]
        settings={name: values for name, values in settings.items() if values},
        image_sizes=draw(lists(st.none() | st.integers(16, 1_024))),  # type: ignore[arg-type]
        evaluation_images=draw(lists(st.integers(1, 10_000))),  # type: ignore[arg-type]
        threads=draw(lists(st.integers(1, 64))),  # type: ignore[arg-type]
        batches=draw(lists(st.integers(1, 64))),  # type: ignore[arg-type]
        name=draw(st.just("") | st.text(st.characters(exclude_categories=["Cs"]), min_size=1)),
    )


@given(sweeps())
def test_what_is_written_reads_the_same(sweep: Sweep) -> None:
    assert read_sweep(write_sweep(sweep), 1, None) == sweep


def test_the_example_asks_for_what_it_says() -> None:
    path = PROJECT / "examples" / "sweep.toml"
    sweep = read_sweep(path.read_text(), 1, path.parent, path.name)
    assert len(sweep.models) == 2
    assert cells(sweep.requests()) == 44


def test_the_documents_show_a_sweep_that_can_be_asked_for() -> None:
    document = (PROJECT / "docs" / "command-line.md").read_text()
    (text,) = re.findall(r"^```toml\n(models.*?)^```", document, re.M | re.S)
    assert cells(requests(text)) == 44


def test_commented_lines_of_the_example_are_right_too() -> None:
    lines = (PROJECT / "examples" / "sweep.toml").read_text().splitlines()
    uncommented = [
        line.removeprefix("# ") if "=" in line or line.startswith("# [") else line
        for line in lines
        if not line.startswith("# `") and "images =" not in line
    ]
    text = "\n".join(uncommented).replace('"static"]', '"static", "qat"]')
    sweep = read_sweep(text, 1, None)
    assert set(sweep.settings) == {"static", "dynamic", "qat"}
    assert set(sweep.settings["static"]) >= {"observer", "per_channel"}
    with pytest.raises(RequestError, match=f"more than {MAX_VARIANTS}"):
        Sweep(**{**vars(sweep), "threads": tuple(range(1, 99))}).requests()


def test_pictures_lie_beside_the_file() -> None:
    text = f'models = "{MODEL}"\nimages = "mine.zip"'
    assert read_sweep(text, 1, Path("/somewhere")).images == "/somewhere/mine.zip"
    with pytest.raises(RequestError, match="a page does not read"):
        read_sweep(text, 1, None)


# Mistakes


@pytest.mark.parametrize(
    ("text", "reason", "remedy"),
    [
        ("", "names no model", "models ="),
        ("models = []", "models is an empty list", "Give it a value"),
        ("models = 1", "models cannot be 1", "a name or a list of names"),
        ('models = ["bundled/mobilnet_v2"]', f"Did you mean {MODEL}", "python -m quantcore models"),
        ('models = "resnet"', "does not name a model", "torchvision/NAME"),
        ('modles = "x"', "Did you mean 'models'", "The keys are name, models"),
        ("image-size = 3", "Did you mean 'image_size'", "image_size"),
        ("calibration_images = 3", "is a setting of static", r"below \[static\]"),
        ("per_channel = true", "is a setting of static and qat", r"below \[static\]"),
        ("static = 3", "'static' cannot be 3", r"Below \[static\]"),
        ('workflows = "statc"', "Did you mean 'static'", "The workflows are"),
        ('backends = ["x68"]', "Did you mean 'x86'", "The backends are"),
        ("threads = true", "threads cannot be True", "a whole number"),
        ("threads = 1.5", "threads cannot be 1.5", r"threads = \[1, 2\]"),
        ("threads = 0", "threads", "Take 1"),
        ('batch = "big"', "batch cannot be 'big'", "a whole number"),
        ("image_size = 4", "out of range", "16 to 1,024"),
        ('image_size = "huge"', "image_size cannot be 'huge'", '"own", 96'),
        ('threads = "own"', "threads cannot be 'own'", "a whole number"),
        ("evaluation_images = 0", "measure nothing", "at least 1"),
        ("name = 3", "name cannot be 3", "a text"),
        ("[statc]\nobserver = 1", "Did you mean 'static'", "static, qat"),
        ("[static]\nobservr = 1", "Did you mean 'observer'", "It has calibration_images"),
        ('[static]\nobserver = "median"', "static.observer cannot be 'median'", "'minmax'"),
        ("[static]\ncalibration_images = 0", "Calibration needs pictures", "at least 1"),
        ("[static]\ncalibration_images = []", "static.calibration_images is an empty", "leave it"),
        ("[static]\nthreads = 2", "concerns the whole sweep", "above the first"),
        ("[qat]\nsteps = 0", "cannot train 0 steps", "at least 1 step"),
        ("threads = [", "is not TOML: ", "examples/sweep.toml"),
        ('workflows = "dynamic"\n[qat]\nsteps = 3', "settings of qat", "Add 'qat'"),
    ],
    ids=lambda value: value.replace("\n", " ")[:30],
)
def test_mistakes_name_the_key_and_what_would_be_right(text: str, reason: str, remedy: str) -> None:
    whole = text if text.startswith("models") or not text else f'models = "{MODEL}"\n{text}'
    with pytest.raises(RequestError) as caught:
        requests(whole)
    assert re.search(reason, caught.value.reason)
    assert re.search(remedy, caught.value.remedy)


def test_too_many_are_refused_before_they_are_written_out() -> None:
    images = list(range(1, 1_000))
    with pytest.raises(RequestError) as caught:
        requests(
            f'models = "{MODEL}"\nthreads = {images}\nbatch = {images}\n'
            f"[static]\ncalibration_images = {images}\n"
        )
    assert "998,001 models, image sizes and ways of timing" in caught.value.reason
    # Static with each number of pictures on each backend, and all else once.
    backends = default_backends(None, current_environment())
    variants = len(plan(ModelSpec(MODEL)).variants) + len(backends) * (999 - 1)
    assert f"{variants:,} of each" in caught.value.reason
    assert f"more than {MAX_VARIANTS}" in caught.value.reason


def test_as_many_as_are_allowed_are_taken() -> None:
    counts = list(range(1, MAX_VARIANTS))
    text = f'models = "{MODEL}"\nworkflows = "static"\nbackends = "x86"\n[static]\n'
    assert cells(requests(text + f"calibration_images = {counts}")) == MAX_VARIANTS
    with pytest.raises(RequestError, match=f"asks for {MAX_VARIANTS + 1} variants"):
        requests(text + f"calibration_images = {[*counts, 1_000]}")


def test_a_text_without_end_is_not_read() -> None:
    with pytest.raises(RequestError, match="too long"):
        read_sweep("#" * 200_000, 1, None)
