"""torchvision's classification architectures, with published or seeded weights."""

import hashlib
import os
import re
import shutil
import tempfile
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantcore.errors import WeightsUnavailableError
from quantcore.models import architectures
from quantcore.models.catalogue import ModelInfo
from quantcore.schema import RANDOM

if TYPE_CHECKING:
    from torch import nn

WEIGHTS_URL = "https://download.pytorch.org/models"
CONNECT_TIMEOUT_S = 5.0
SEED = 0


def hub_folder() -> Path:
    """Return torch hub's checkpoints folder, as torch determines it, without importing torch."""
    cache = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    home = os.environ.get("TORCH_HOME") or f"{cache}/torch"
    return Path(home).expanduser() / "hub" / "checkpoints"


def weights_path(info: ModelInfo, engine: str | None = None) -> Path:
    """Return the weight file in torch hub's cache, fetched if it is not there yet.

    Args:
        info: a model with published weights.
        engine: of ready-quantized weights; None for the float weights.

    Raises:
        WeightsUnavailableError: it is missing and cannot be fetched; the remedy is a command.
    """
    name = info.weights_file if engine is None else info.pretrained_weights[engine]
    assert name is not None, "random weights have no file"
    path = hub_folder() / name
    if not path.is_file():
        _fetch(info, f"{WEIGHTS_URL}/{'' if engine is None else 'quantized/'}{name}", path)
    return path


def _fetch(info: ModelInfo, url: str, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with urllib.request.urlopen(url, timeout=CONNECT_TIMEOUT_S) as answer:
            _store(answer, path)
    except OSError as error:
        raise WeightsUnavailableError(
            f"The published weights of {info.title} are not on this machine "
            f"and could not be fetched ({getattr(error, 'reason', error)}).",
            f"On a machine with network: `curl -L -o {path} {url}`. "
            f"Or take {info.name}{RANDOM}: sizes and latencies are real, accuracy is not offered.",
        ) from error


def _store(answer: Any, path: Path) -> None:
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        temporary = Path(file.name)
        try:
            shutil.copyfileobj(answer, file)
            file.flush()
            _check_name(temporary, path.name)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


def _check_name(path: Path, name: str) -> None:
    """Check the file's SHA-256 against its first digits, which torch hub's file names carry."""
    expected = re.search(r"-([0-9a-f]{8,})\.", name)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    if expected and not sha256.startswith(expected[1]):
        raise OSError(f"its digest starts with {sha256[:8]}, not with {expected[1]}")


def build(info: ModelInfo) -> "nn.Module":
    """Return the float module with the published weights."""
    import torch

    from quantcore.models.empty import EmptyParameters

    state = torch.load(weights_path(info), weights_only=True, map_location="cpu")
    # Initialising what is overwritten at once would take seconds for a big model.
    with EmptyParameters():
        model = architectures.complete(info.architecture)
    model.load_state_dict(state, assign=True)
    return architectures.drop_auxiliary(model, info.architecture).eval()


def build_random(info: ModelInfo) -> "nn.Module":
    """Return the float module with seeded weights, the same in every process."""
    import torch

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return architectures.architecture(info.architecture)


def random_digest(info: ModelInfo) -> str:
    """Return the digest that stands for seeded weights, which have no file."""
    return hashlib.sha256(f"{info.architecture} seeded with {SEED}".encode()).hexdigest()


def twin(info: ModelInfo) -> "nn.Module":
    """Return torchvision's quantizable twin with fresh weights and no auxiliary classifier."""
    from quantcore.models.torchvision_import import torchvision

    options = architectures.options(info.architecture)
    if options:
        options["aux_logits"] = False
    model: nn.Module = torchvision().models.get_model(
        f"quantized_{info.architecture}", weights=None, quantize=False, **options
    )
    return model


def ready_quantized(info: ModelInfo, engine: str) -> "nn.Module":
    """Return torchvision's quantized model; the engine must be the process's engine already."""
    import torch

    from quantcore.models.torchvision_import import torchvision

    state = torch.load(weights_path(info, engine), weights_only=True, map_location="cpu")
    model: nn.Module = torchvision().models.get_model(
        f"quantized_{info.architecture}",
        weights=None,
        quantize=True,
        **architectures.options(info.architecture),
    )
    # torchvision sets the engine its weights were published for; weights are packed for the
    # engine that is set while they are loaded.
    torch.backends.quantized.engine = engine
    model.load_state_dict(state)
    return architectures.drop_auxiliary(model, info.architecture).eval()
