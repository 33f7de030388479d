"""The proof that the lock holds on this machine: forbidden actions are attempted inside it.

`prove` starts a small locked process for it, without torch, and can be called from a process with
threads.
"""

import ctypes
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from quantcore.errors import LockError
from quantcore.sandbox.lockdown.actions import ALLOWED, FORBIDDEN, Attempt, attempts
from quantcore.sandbox.lockdown.enter import enter
from quantcore.sandbox.lockdown.lock import Lock
from quantcore.sandbox.lockdown.runtime import import_path, quiet_environment

_TIMEOUT_S = 60.0
_ENTRY = "from quantcore.sandbox.lockdown.proof import main; main()"
_LOCK = Lock(memory_bytes=1_000_000_000, cpu_s=20, file_bytes=1_000_000)


@dataclass(frozen=True)
class Proof:
    """Whether the lock holds; and the sentence to show where it does not."""

    holds: bool
    sentence: str
    attempts: tuple[Attempt, ...] = ()


def why_unavailable() -> str | None:
    """Return why this machine cannot close the lock, None if it seems to be able to. Cheap."""
    if not sys.platform.startswith("linux"):
        return "Uploaded files are run in a lock that only Linux has; this machine runs no Linux."
    try:
        import landlock

        import quantcore.sandbox.lockdown.libraries  # noqa: F401

        # What an earlier call of the same library left behind would be taken for a failure.
        ctypes.set_errno(0)
        landlock.landlock_abi_version()
    except ImportError as error:
        return f"Uploaded files are run in a lock that needs a Python package: {error}."
    except RuntimeError:
        return "Uploaded files are run in a lock that needs libseccomp (Debian's libseccomp2)."
    except OSError as error:
        return (
            "Uploaded files are run in a lock that needs Landlock, which this machine's kernel "
            f"lacks or has switched off ({error.strerror})."
        )
    return None


def prove() -> Proof:
    """Attempt forbidden actions in a small locked process; return whether the lock holds.

    Any failure on the way gives a proof that does not hold, never an exception.
    """
    reason = why_unavailable()
    if reason is not None:
        return Proof(False, reason)
    with tempfile.TemporaryDirectory() as folder:
        try:
            # The parent of the locked process is what it tries to reach, so it is not this one.
            done = subprocess.run(
                [sys.executable, "-c", _ENTRY, folder],
                env=quiet_environment(os.environ) | import_path(os.environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_TIMEOUT_S,
                check=False,
            )
            answer = json.loads(done.stdout)
        except (OSError, subprocess.SubprocessError, json.JSONDecodeError):
            return Proof(
                False, "The lock for uploaded files could not be tried: it did not answer."
            )
    if "reason" in answer:
        return Proof(False, answer["reason"])
    return evaluate(Attempt(**attempt) for attempt in answer["attempts"])


def evaluate(tried: Iterable[Attempt]) -> Proof:
    """Return whether a lock holds, given the attempts made inside it."""
    tried = tuple(tried)
    names = {attempt.name for attempt in tried}
    missing = [name for name in (*FORBIDDEN, *ALLOWED) if name not in names]
    escapes = [each.name for each in tried if not each.allowed and not each.is_as_it_should_be]
    refusals = [each.name for each in tried if each.allowed and not each.is_as_it_should_be]
    if escapes:
        sentence = f"The lock for uploaded files does not hold here: one could {escapes[0]}."
    elif refusals:
        sentence = f"The lock for uploaded files is too tight here: one could not {refusals[0]}."
    elif missing:
        sentence = f"The lock for uploaded files was not tried whole: nobody tried to {missing[0]}."
    else:
        sentence = "The lock for uploaded files holds: everything forbidden was tried and refused."
    return Proof(not (escapes or refusals or missing), sentence, tried)


def main() -> None:
    """Fork, lock the fork, and print the attempts made in it, as JSON."""
    import quantcore.sandbox.lockdown.libraries  # noqa: F401

    scratch = Path(sys.argv[1]).resolve()
    (scratch / "inside").mkdir()
    reader, writer = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(writer, json.dumps(_answer(scratch / "inside", writer)).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        answer = pipe.read()
    os.waitpid(pid, 0)
    sys.stdout.write(answer.decode())


def _answer(scratch: Path, writer: int) -> dict[str, object]:
    from dataclasses import replace

    try:
        enter(replace(_LOCK, writes=(scratch,)), keep=[writer])
    except LockError as error:
        return {"reason": f"{error.reason} {error.remedy}".strip()}
    return {"attempts": [asdict(attempt) for attempt in attempts(scratch)]}
