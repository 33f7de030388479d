"""A proof card as plain text."""

import textwrap

from quantcore import wording
from quantcore.schema import RuntimeLatency, VerificationReport

WIDTH = 100
HELD, FAILED = "✓", "✗"


def card_to_text(card: VerificationReport, width: int = WIDTH) -> str:
    """Return the verdict, the figures, the checks and what nobody looked at, in words."""
    blocks = [
        _lines([_verdict(card)], width),
        "\n".join(f"  {name:<20}{value}" for name, value in figures(card)),
        _lines(
            [f"{_mark(check.passed)} {check.name}: {check.found}" for check in card.checks], width
        ),
        _lines(
            [_pass(each.name, each.applied, each.reason) for each in card.exported.passes], width
        ),
        _lines(card.notes, width),
        _lines([f"Not verified: {sentence}" for sentence in card.not_verified], width),
    ]
    return "\n\n".join(block for block in blocks if block)


def figures(card: VerificationReport) -> list[tuple[str, str]]:
    """Return the card's figures by name, ready to show; those it lacks are left out."""
    exported = card.exported
    found = [
        ("size", wording.figure(exported.artifact.size_bytes / 1e6, "MB")),
        ("zipped", wording.figure(card.zipped_bytes / 1e6, "MB")),
        ("SHA-256", exported.artifact.sha256),
        ("runs on", exported.runs_on),
        ("engine", ", ".join(exported.engines) or "none needed"),
        ("8-bit operators", f"{exported.int8_operators} of {exported.total_operators}"),
    ]
    if card.accuracy is not None:
        over = wording.count(card.accuracy.images, "picture")
        found.append(("top-1", f"{wording.percent(card.accuracy.top1)} of {over}"))
    if card.agreement is not None:
        found.append(("agreement", f"{wording.percent(card.agreement, 2)} with its variant"))
    for each in card.latency:
        found.append((each.runtime, _latency(each)))
        if each.speedup is not None:
            found.append(("beside its variant", wording.faster(each.speedup.ratio)))
    if card.peak_memory_bytes:
        found.append(("peak memory", wording.figure(card.peak_memory_bytes / 1e6, "MB")))
    return found


def _latency(each: RuntimeLatency) -> str:
    if each.latency_ms is None:
        return each.reason
    return f"{wording.figure(each.latency_ms.p50, 'ms')} a call (median)"


def _verdict(card: VerificationReport) -> str:
    spec = card.spec
    what = f"{spec.request.model.name}, {spec.variant.label}, as {spec.format}"
    if card.passed:
        return f"{what}: every check held."
    failed = [check.name for check in card.checks if not check.passed]
    return f"{what}: do not ship it. What did not hold: {wording.joined(failed)}."


def _mark(passed: bool) -> str:
    return HELD if passed else FAILED


def _pass(name: str, applied: bool, reason: str) -> str:
    return f"{'applied' if applied else 'left out'}: {name}. {reason}".strip()


def _lines(lines: "list[str] | tuple[str, ...]", width: int) -> str:
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)
