"""How the figures were found, in sentences."""

from collections.abc import Collection, Sequence

from quantcore import wording
from quantcore.decide import Smallest
from quantcore.engine import time_model
from quantcore.schema import Comparison


def paragraphs(comparison: Comparison, smallest: Smallest) -> Sequence[tuple[str, str]]:
    """Return how each figure was found, and on what machine: title and sentences of each."""
    counts = (
        "What counts",
        "Of the differences that a verdict calls real, at most one in twenty is wrong (Benjamini "
        f"and Hochberg). {smallest.sentence}",
    )
    return (*_how(comparison), counts, ("Machine", machine(comparison)))


def _how(comparison: Comparison) -> Sequence[tuple[str, str]]:
    measure, rows = comparison.request.measure, comparison.results
    timed = [request.measure for request in (comparison.request, *comparison.also)]
    batches, threads = {each.batch for each in timed}, {each.threads for each in timed}
    sides = " or ".join(f"{side} px" for side in sorted({row.image_size for row in rows}))
    evaluated = max((row.fidelity_images for row in rows), default=0)
    return (
        (
            "The file that ships",
            "Each variant is converted, saved, and loaded afresh in a process of its own. Every "
            "size is of that file, every latency and accuracy of that file loaded.",
        ),
        (
            "Latency",
            f"{_counted(batches, 'image')} a call at {sides or 'the model’s own size'}, "
            f"{_counted(threads, 'thread')}, after a warm-up. Each file is started "
            f"{measure.starts} times; in every start it takes turns with float32 and the first "
            f"variant, {wording.count(measure.rounds, 'round')} of them, on the same cores. Rounds "
            "in which the processor was slowed down by others are repeated; where that does not "
            "help, the row says “machine was busy”. All milliseconds and speed-ups come from one "
            "fit to these calls, and their 95 % intervals from the spread between starts; a "
            f"speed-up known less well than ±{100 * time_model.SETTLED:.0f} % is “unsettled”.",
        ),
        (
            "float32",
            "Served the best way the same runtime can: frozen, and optimized after loading.",
        ),
        (
            "Accuracy and agreement",
            f"Shares of {wording.count(evaluated, 'image')} that no variant was calibrated or "
            "trained on, the same for all. Intervals are 95 % (Wilson).",
        ),
        ("In 8 bits", "Share of the multiply-adds that run in 8 bits, read from the file itself."),
        (
            "Peak memory",
            "The most the process held above what the runtime holds before it loads the file.",
        ),
    )


def _counted(numbers: Collection[int], noun: str) -> str:
    """Return different numbers of something as a choice: `1 or 8 images`."""
    return f"{wording.either(numbers)} {noun if set(numbers) == {1} else noun + 's'}"


def machine(comparison: Comparison) -> str:
    """Return the machine and the library versions that the figures are true of."""
    environment = comparison.environment
    parts = [
        environment.sentence(),
        f"instruction sets {', '.join(environment.instruction_sets) or 'unknown'}",
        f"{environment.memory_gib} GiB of memory",
        environment.operating_system,
        f"Python {environment.python}",
        *(f"{name} {number}" for name, number in environment.libraries.items() if name != "torch"),
    ]
    return f"{'; '.join(parts)}."
