"""The refusal of weights that fit no architecture: what comes nearest, and what keeps it apart."""

from quantcore.errors import RequestError
from quantcore.untrusted.candidate import Candidate
from quantcore.untrusted.fingerprints import fingerprints
from quantcore.untrusted.text import listed, shown

MIN_NEAR_SHARE = 0.2
TORCHSCRIPT = (
    "Upload it as TorchScript, which has its own code: "
    'torch.jit.trace(model.eval(), example).save("model.pt").'
)


def refusal(nearest: tuple[Candidate, ...]) -> RequestError:
    """Return the error for weights that fit no architecture.

    Args:
        nearest: the most similar architectures, best first; may be empty.
    """
    if not nearest or nearest[0].share < MIN_NEAR_SHARE:
        near = f" The nearest is {nearest[0].title}, which is far off." if nearest else ""
        return RequestError(
            "These weights belong to no architecture that is known here, and a file of weights "
            f"does not hold the code that uses them.{near}",
            f"{TORCHSCRIPT} Known are torchvision's {len(fingerprints())} classification models.",
        )
    best = nearest[0]
    if not best.missing and best.channels != 3:
        return _wrong_channels(best)
    head = _replaced_head(best)
    if head is not None:
        return head
    if not best.missing:
        return RequestError(
            f"The weights hold a whole {best.title}, and further layers that it does not have: "
            f"{listed(best.further_layers)}. How they are used, a file of weights does not say.",
            TORCHSCRIPT,
        )
    extra = f" Left over: {listed(best.left_over)}." if best.left_over else ""
    others = ", ".join(
        candidate.title for candidate in nearest[1:] if candidate.share > best.share / 2
    )
    also = f"Also near: {others}. " if others else ""
    return RequestError(
        f"These weights come nearest to {best.title}, but do not fit it: "
        f"{len(best.missing):,} of its tensors are missing or have another shape "
        f"({listed(best.missing)}).{extra}",
        f"{also}If it is one of these, save the whole state_dict of the model as trained. "
        f"If it is another model: {TORCHSCRIPT[0].lower()}{TORCHSCRIPT[1:]}",
    )


def _wrong_channels(best: Candidate) -> RequestError:
    first = fingerprints()[best.architecture].first
    counted = "1 channel" if best.channels == 1 else f"{best.channels:,} channels"
    name = shown(best.prefix + first)
    remedy = (
        f'In Python, state["{name}"] = state["{name}"]'
        ".repeat(1, 3, 1, 1) / 3 makes it a model that answers the same to grey pictures in "
        "colour form; save that."
        if best.channels == 1
        else f"{TORCHSCRIPT} It must take pictures of 3 channels, or 1."
    )
    return RequestError(
        f"This is a {best.title} for pictures of {counted} ({first}), and pictures here have 3.",
        remedy,
    )


def _replaced_head(best: Candidate) -> RequestError | None:
    """Return the refusal of a known body whose last layer became several, if that is the case."""
    heads = fingerprints()[best.architecture].main_heads
    prefixes = tuple({head.split(".")[0] + "." for head in heads})
    own = [name.removeprefix(best.prefix) for name in best.further_layers]
    if not best.missing or not all(name.startswith(prefixes) for name in [*best.missing, *own]):
        return None
    if not own:
        return RequestError(
            f"This is a {best.title} without its last layer ({listed(best.missing)} missing, or "
            "of another shape), so it names no classes.",
            "Save the state_dict of the model together with the layer that tells classes apart.",
        )
    return RequestError(
        f"This is a {best.title} whose last layer was replaced by other layers "
        f"({listed(best.further_layers)}). What happens between them, a file of weights does not "
        "say.",
        TORCHSCRIPT,
    )
