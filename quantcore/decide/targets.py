"""What a target changes: whose rows may ship there, and whether times of this machine count."""

from quantcore.backends import MADE_FOR, WHERE, entry, serves
from quantcore.schema import Target, Tuning, VariantResult

# What the machine that measures stands for. No phone or browser takes part in it.
MEASURED: tuple[Target | None, ...] = (None, "server")
NEEDS_VNNI = (
    "Its file needs a processor with 8-bit dot products (VNNI): without them its sums can overflow."
)
ONE: dict[Target, str] = {"server": "a server", "phone": "a phone", "browser": "a browser"}


def times_count(target: Target | None) -> bool:
    """Return whether the milliseconds of a machine like this one say how fast a target is."""
    return target in MEASURED


def misfit(row: VariantResult, target: Target | None) -> str:
    """Return why a row cannot ship on a target, as a clause; empty where it can."""
    if serves(row.backend, target).ok:
        return ""
    backend = entry(row.backend)
    assert target is not None
    assert backend is not None
    places = " and ".join(MADE_FOR[each] for each in backend.targets)
    return f"made for {places}, not for {MADE_FOR[target]}"


def at(target: Target | None) -> str:
    """Return where it ships, to stand behind a name: ' in the browser'; empty if not decided."""
    return f" {WHERE[target]}" if target else ""


def untimed(target: Target | None) -> str:
    """Return the sentence that times decide nothing for this target; empty where they do."""
    if target is None or times_count(target):
        return ""
    return (
        f"Times are of this machine, not of {ONE[target]}: size, accuracy, agreement and memory "
        "decide."
    )


def needs_vnni(backend_name: str | None, tuning: Tuning | None) -> bool:
    """Return whether a file for servers needs a processor with 8-bit dot products."""
    backend = entry(backend_name)
    takes_all_bits = tuning is not None and not tuning.reduce_range
    return takes_all_bits and backend is not None and "server" in backend.targets
