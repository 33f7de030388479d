"""What a figure depends on, as one digest: the names under which the cache keeps things.

Whatever may change the bytes of a converted file is in its conversion key; whatever may change a
figure measured of it is in its result key. Nothing else is, so nothing is made twice.
"""

from collections.abc import Mapping

from quantcore.backends import runtime
from quantcore.images import images_digest
from quantcore.models import ModelInfo, find, weights_digest
from quantcore.schema import CompareRequest, Environment, Variant, digest, library_versions
from quantcore.workflows import settings_of, workflow

# Raised when the code that converts or measures changes what it gives for the same request.
CONVERSION_VERSION = 5
MEASUREMENT_VERSION = 2


def image_size(request: CompareRequest, info: ModelInfo) -> int:
    """Return the side of the pictures the model sees, in px."""
    return request.images.image_size or info.image_size


def checkpoint_engine(variant: Variant) -> str | None:
    """Return which ready-quantized checkpoint a variant starts from; None for the float one."""
    return runtime(variant.backend).qconfig if variant.workflow == "pretrained" else None


def recipe_key(
    request: CompareRequest, variant: Variant, libraries: Mapping[str, str] | None = None
) -> str:
    """Return the digest of what decides weights, scales and zero points.

    Variants of two backends with one recipe are converted once (x86 and FBGEMM, for instance).

    Args:
        request: the question.
        variant: the cell.
        libraries: versions where it is converted; None takes this process's.
    """
    info = find(request.model)
    made = workflow(variant.workflow, dict(variant.settings))
    backend = runtime(variant.backend)
    return digest(
        {
            "version": CONVERSION_VERSION,
            "model": request.model.name,
            "weights": weights_digest(request.model, checkpoint_engine(variant)),
            "workflow": variant.workflow,
            "settings": settings_of(variant),
            "qconfig": made.qconfig(backend),
            # Pictures decide the conversion only where it looks at them.
            "images": images_digest(request.images, info) if made.uses else None,
            "split_seed": request.images.seed if made.uses else None,
            "image_size": image_size(request, info),
            "libraries": library_versions() if libraries is None else dict(libraries),
        }
    )


def conversion_key(
    request: CompareRequest, variant: Variant, libraries: Mapping[str, str] | None = None
) -> str:
    """Return the digest of what decides the converted file's bytes: its recipe and its backend."""
    return digest({"recipe": recipe_key(request, variant, libraries), "backend": variant.backend})


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
    # A worker elsewhere may have other versions, or another build of torch.
    libraries = environment.libraries
    return digest(
        {
            "version": MEASUREMENT_VERSION,
            "conversion": conversion_key(request, variant, libraries),
            "reference": conversion_key(request, Variant("float32", None), libraries),
            "images": images_digest(request.images, info),
            "image_spec": [request.images.evaluation_images, request.images.seed],
            "measure": [request.measure.threads, request.measure.batch],
            "environment": digest(environment),
        }
    )


def evaluation_key(request: CompareRequest, variant: Variant) -> str:
    """Return the digest of what decides a variant's answers, before its file is looked at."""
    info = find(request.model)
    return digest(
        {
            "version": MEASUREMENT_VERSION,
            "conversion": conversion_key(request, variant),
            "images": images_digest(request.images, info),
            "image_spec": [request.images.evaluation_images, request.images.seed],
        }
    )
