"""Cache keys: digests of everything that a conversion, an evaluation or a result depends on.

A conversion key holds whatever may change the bytes of a converted file, a result key whatever may
change a figure measured of it. Neither holds anything else, so equal work is done once.
"""

from collections.abc import Iterable
from dataclasses import asdict

from quantcore.backends import float_backends, runtime
from quantcore.images import images_digest
from quantcore.models import ModelInfo, find, weights_digest
from quantcore.schema import (
    FLOAT_WORKFLOW,
    CompareRequest,
    Environment,
    ModelSpec,
    Variant,
    current_environment,
    digest,
)
from quantcore.workflows import Workflow, settings_of, workflow

# torch's float32: the reference of every model that torch can run.
FLOAT32 = Variant(FLOAT_WORKFLOW, None)
# Raised when the code that converts or measures changes what it gives for the same request.
CONVERSION_VERSION = 10
MEASUREMENT_VERSION = 4
STATISTICS_VERSION = 1
# What decides a conversion whichever toolchain makes it: the float model and its pictures.
BASE_LIBRARIES = ("torch", "torchvision", "numpy")


def image_size(request: CompareRequest, info: ModelInfo) -> int:
    """Return the side of the pictures the model sees, in px."""
    return request.images.image_size or info.image_size


def checkpoint_engine(variant: Variant) -> str | None:
    """Return the engine of the ready-quantized checkpoint a variant starts from; None for float."""
    return _workflow(variant).checkpoint(runtime(variant.backend))


def _workflow(variant: Variant) -> Workflow:
    return workflow(variant.workflow, dict(variant.settings))


def recipe_key(
    request: CompareRequest, variant: Variant, environment: Environment | None = None
) -> str:
    """Return the digest of what decides weights, scales and zero points.

    Variants of two backends with one recipe are converted once (x86 and FBGEMM, for instance).

    Args:
        request: the question.
        variant: the cell.
        environment: where it is converted; None takes this process's.
    """
    info = find(request.model)
    chosen = _workflow(variant)
    environment = environment or current_environment()
    recipe = chosen.recipe(runtime(variant.backend), environment)
    return digest(
        {
            "version": CONVERSION_VERSION,
            "model": request.model.name,
            "weights": weights_digest(request.model, checkpoint_engine(variant)),
            "workflow": variant.workflow,
            "settings": settings_of(variant),
            "recipe": recipe.name,
            # Pictures decide the conversion only where it looks at them.
            "images": images_digest(request.images, info) if chosen.reads_pictures else None,
            "split_seed": request.images.seed if chosen.reads_pictures else None,
            "image_size": image_size(request, info),
            "libraries": _versions((*BASE_LIBRARIES, *recipe.packages), environment),
        }
    )


def conversion_key(
    request: CompareRequest, variant: Variant, environment: Environment | None = None
) -> str:
    """Return the digest of what decides the converted file's bytes: its recipe and its backend."""
    return digest(
        {
            "recipe": recipe_key(request, variant, environment),
            "backend": variant.backend,
            "libraries": _versions(runtime(variant.backend).toolchain.packages, environment),
        }
    )


def deciding_libraries(variant: Variant, environment: Environment | None = None) -> dict[str, str]:
    """Return the versions of the libraries that decide a variant's file, by name."""
    environment, backend = environment or current_environment(), runtime(variant.backend)
    recipe = _workflow(variant).recipe(backend, environment)
    names = (*BASE_LIBRARIES, *recipe.packages, *backend.toolchain.packages)
    return _versions(dict.fromkeys(names), environment)


def _versions(names: Iterable[str], environment: Environment | None) -> dict[str, str]:
    """Return the versions of distributions; None takes this process's."""
    versions = (environment or current_environment()).libraries
    return {name: versions[name] for name in names if name in versions}


def predictions_key(state: str, probe: str, request: CompareRequest) -> str:
    """Return the digest of what decides a model's answers on the evaluation pictures.

    Args:
        state: digest of the converted weights, scales and zero points.
        probe: digest of the logits on a few pictures, which tells kernels apart that round
            differently.
        request: which pictures.
    """
    info = find(request.model)
    # A program chooses what is said of it, and must not answer in the name of another model.
    own = {"program": request.model.name} if info.is_program else {}
    return digest(
        {
            **own,
            "version": MEASUREMENT_VERSION,
            "state": state,
            "probe": probe,
            "images": images_digest(request.images, info),
            "split_seed": request.images.seed,
            "evaluation_images": request.images.evaluation_images,
            "image_size": image_size(request, info),
        }
    )


def result_key(request: CompareRequest, variant: Variant, environment: Environment) -> str:
    """Return the digest of everything a row's figures depend on, the machine included."""
    info = find(request.model)
    # A worker elsewhere may have other versions, another build of torch, or another processor.
    references = float_variants(request, variant, environment)
    return digest(
        {
            "version": MEASUREMENT_VERSION,
            "conversion": conversion_key(request, variant, environment),
            "references": [conversion_key(request, each, environment) for each in references],
            "images": images_digest(request.images, info),
            "image_spec": [request.images.evaluation_images, request.images.seed],
            "measure": asdict(request.measure),
            "environment": digest(environment),
        }
    )


def reference(model: ModelSpec) -> Variant | None:
    """Return the float32 whose answers a model's variants are compared with; None without one."""
    floats = float_backends((), find(model))
    return Variant(FLOAT_WORKFLOW, floats[0]) if floats else None


def own_float(variant: Variant) -> Variant:
    """Return the float32 variant that runs on the same runtime as a variant."""
    return Variant(FLOAT_WORKFLOW, runtime(variant.backend).float_backend)


def float_variants(
    request: CompareRequest, variant: Variant, environment: Environment
) -> tuple[Variant, ...]:
    """Return the float32 variants that a variant is timed against on a machine: its own first.

    They are its backend's, the reference, and what else of the kind the request asks for; none of
    a model that came in 8 bits.
    """
    main = reference(request.model)
    if main is None:
        return ()
    own = own_float(variant)
    requested = [each for each in request.variants if each.is_float]
    return tuple(
        each
        for each in dict.fromkeys((own, main, *requested))
        if runtime(each.backend).available(environment).ok
    )


def statistics_key(request: CompareRequest) -> str:
    """Return the digest of what decides the statistics of a request's float model."""
    info = find(request.model)
    return digest(
        {
            "version": STATISTICS_VERSION,
            "model": request.model.name,
            "weights": weights_digest(request.model),
            "images": images_digest(request.images, info),
            "image_spec": [request.images.evaluation_images, request.images.seed],
            "image_size": image_size(request, info),
            "libraries": _versions(BASE_LIBRARIES, None),
        }
    )


def evaluation_key(request: CompareRequest, variant: Variant) -> str:
    """Return the digest of what decides a variant's answers, before its file is loaded."""
    info = find(request.model)
    return digest(
        {
            "version": MEASUREMENT_VERSION,
            "conversion": conversion_key(request, variant),
            "images": images_digest(request.images, info),
            "image_spec": [request.images.evaluation_images, request.images.seed],
        }
    )
