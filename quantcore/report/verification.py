"""A verification report as plain text."""

import textwrap

from quantcore import wording
from quantcore.schema import RuntimeLatency, VerificationReport

WIDTH = 100
HELD, FAILED = "✓", "✗"


def verification_report_to_text(report: VerificationReport, width: int = WIDTH) -> str:
    """Return the verdict, the figures, the checks and what was not verified, in words."""
    blocks = [
        _lines([_verdict(report)], width),
        "\n".join(f"  {name:<20}{value}" for name, value in figures(report)),
        _lines(
            [f"{_mark(check.passed)} {check.name}: {check.found}" for check in report.checks], width
        ),
        _lines(
            [_pass(each.name, each.applied, each.reason) for each in report.exported.passes], width
        ),
        _lines(report.notes, width),
        _lines([f"Not verified: {sentence}" for sentence in report.not_verified], width),
    ]
    return "\n\n".join(block for block in blocks if block)


def figures(report: VerificationReport) -> list[tuple[str, str]]:
    """Return the card's figures by name, ready to show; those it lacks are left out."""
    exported = report.exported
    pairs = [
        ("size", wording.figure(exported.artifact.size_bytes / 1e6, "MB")),
        ("zipped", wording.figure(report.zipped_bytes / 1e6, "MB")),
        ("SHA-256", exported.artifact.sha256),
        ("runs on", exported.runs_on),
        ("engine", ", ".join(exported.engines) or "none needed"),
        ("8-bit operators", f"{exported.int8_operators} of {exported.total_operators}"),
    ]
    if report.accuracy is not None:
        over = wording.count(report.accuracy.images, "picture")
        pairs.append(("top-1", f"{wording.percent(report.accuracy.top1)} of {over}"))
    if report.agreement is not None:
        pairs.append(("agreement", f"{wording.percent(report.agreement, 2)} with its variant"))
    for each in report.latency:
        pairs.append((each.runtime, _latency(each)))
        if each.speedup is not None:
            pairs.append(("beside its variant", wording.faster(each.speedup.ratio)))
    if report.cold_start is not None:
        whole = wording.figure(report.cold_start.total_ms, "ms")
        pairs.append(("start", f"{whole} to load it and answer once"))
    if report.peak_memory_bytes:
        pairs.append(("peak memory", wording.figure(report.peak_memory_bytes / 1e6, "MB")))
    return pairs


def _latency(each: RuntimeLatency) -> str:
    if each.latency_ms is None:
        return each.reason
    return f"{wording.figure(each.latency_ms.p50, 'ms')} a call (median)"


def _verdict(report: VerificationReport) -> str:
    spec = report.spec
    what = f"{spec.request.model.name}, {spec.variant.label}, as {spec.format}"
    if report.passed:
        return f"{what}: every check held."
    failed = [check.name for check in report.checks if not check.passed]
    return f"{what}: do not ship it. What did not hold: {wording.joined(failed)}."


def _mark(passed: bool) -> str:
    return HELD if passed else FAILED


def _pass(name: str, applied: bool, reason: str) -> str:
    return f"{'applied' if applied else 'left out'}: {name}. {reason}".strip()


def _lines(lines: "list[str] | tuple[str, ...]", width: int) -> str:
    return "\n".join(textwrap.fill(line, width, subsequent_indent="  ") for line in lines)
