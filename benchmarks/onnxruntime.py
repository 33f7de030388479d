"""ONNX Runtime's own static quantizer against torch's static modules exported to that runtime."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.app import FLOAT32, absence
from benchmarks.exports import Desk, open_desk
from benchmarks.lines import Figure, absent, note, shown
from quantcore.backends import agreement, sqnr_db
from quantcore.engine import load_logits, metrics, stages
from quantcore.errors import QuantcoreError, UnsupportedError
from quantcore.exports.answers import Answers
from quantcore.images import load_labels
from quantcore.models import catalogue, find
from quantcore.schema import ExportSpec, ImageSpec, Options, Variant

RUNTIME = "onnxruntime"
OWN, OWN_IN_7_BITS = "its own quantizer", "its own quantizer, weights in 7 bits"
# The torch engines whose numbers differ; FBGEMM's are those of x86.
ENGINES = ("x86", "onednn", "qnnpack")
IMAGES = 2_000


@dataclass(frozen=True)
class Fidelity:
    """How near an 8-bit file's answers are to float32's, and how large it is."""

    sqnr_db: float
    agreement: float
    top1: float
    size_bytes: int

    def __str__(self) -> str:
        return (
            f"agreement {self.agreement:.4f}, top-1 {self.top1:.4f}, {self.size_bytes / 1e6:.2f} MB"
        )


def lines(
    models: Sequence[str] | None = None,
    engines: Sequence[str] = ENGINES,
    images: int = IMAGES,
    settings: Options = (),
) -> Iterator[Figure | str]:
    """Yield what each static file keeps of float32's answers in ONNX Runtime, model by model.

    Args:
        models: every bundled one unless named.
        engines: of torch, whose static modules are exported.
        images: that the files are asked.
        settings: of the workflow.
    """
    names = [name for name, info in catalogue().items() if info.source == "bundled"]
    with open_desk() as desk:
        for model in names if models is None else models:
            missing = absence(model)
            if missing:
                yield note(missing)
            else:
                yield from _compared(Bench(desk, model, images, settings), engines)


@dataclass(frozen=True)
class Bench:
    """Makes one model's static files, and asks them in ONNX Runtime."""

    desk: Desk
    model: str
    images: int
    settings: Options

    def spec(self, backend: str, settings: Options = ()) -> ExportSpec:
        """Return the ONNX file of static on a backend, as a user would export it."""
        variant = Variant("static", backend, (*self.settings, *settings))
        return self.desk.planned(self.model, variant, "onnx", ImageSpec(None, self.images))

    def float_logits(self) -> Any:
        """Return torch's float32 answers `[N, classes]`."""
        job = self.desk.job(self.spec(RUNTIME))
        evaluation = stages.evaluate(job, FLOAT32, stages.convert(job, FLOAT32, 0.0, 1.0), 0.0, 1.0)
        assert evaluation.predictions is not None
        return load_logits(self.desk.store.path(evaluation.predictions))

    def fidelity(self, backend: str, settings: Options, float_logits: Any) -> Fidelity:
        """Return how a file answers in ONNX Runtime."""
        spec = self.spec(backend, settings)
        sha256 = self.desk.make(spec).exported.artifact.sha256
        with self.desk.store.using(sha256) as (path,):
            answers = self.desk.job(spec).run(
                Answers,
                "quantcore.exports.answers:run_answers_child",
                *(spec, path),
                files=Answers.files,
                share=(0.0, 1.0),
                reads=(path,),
            )
            size_bytes = path.stat().st_size
        logits = load_logits(self.desk.store.path(answers.predictions))
        labels = load_labels(spec.request.images, find(spec.request.model))
        return Fidelity(
            sqnr_db(float_logits, logits) or 0.0,
            agreement(float_logits, logits),
            float("nan")
            if labels is None
            else metrics.accuracy(logits.argmax(axis=1), labels[: len(logits)]).top1,
            size_bytes,
        )


def _compared(bench: Bench, engines: Sequence[str]) -> Iterator[Figure | str]:
    float_logits = bench.float_logits()
    yield note(f"{bench.model}, static, in ONNX Runtime, {len(float_logits):,} images")
    contenders: dict[str, tuple[str, Options]] = {
        OWN: (RUNTIME, ()),
        OWN_IN_7_BITS: (RUNTIME, (("reduce_range", True),)),
    }
    for engine in engines:
        contenders[f"torch's module for {engine}"] = engine, ()
    found: dict[str, float] = {}
    for name, (backend, settings) in contenders.items():
        what = f"SQNR, {bench.model}, {name}"
        try:
            fidelity = bench.fidelity(backend, settings, float_logits)
        except UnsupportedError as error:
            yield note(f"{what}: {error.reason}")
        except QuantcoreError as error:
            yield absent(what, error.reason)
        else:
            found[name] = fidelity.sqnr_db
            yield shown(f"{what}; {fidelity}", fidelity.sqnr_db, "dB")
    theirs = [sqnr_db for name, sqnr_db in found.items() if name not in (OWN, OWN_IN_7_BITS)]
    if OWN in found and theirs:
        gain_db = found[OWN] - max(theirs)
        yield shown(f"{bench.model}, {OWN} above the best of torch's", gain_db, "dB")
