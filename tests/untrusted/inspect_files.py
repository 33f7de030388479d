"""Inspect malformed files one after another, in a process that may take little memory.

`python -m tests.untrusted.inspect_files FOLDER NUMBER...` prints a line of JSON for each.
"""

import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path

from quantcore.errors import QuantcoreError
from quantcore.untrusted import inspect
from quantcore.untrusted.examine import examine
from tests.untrusted import malformed

MEMORY = 6 * 2**30


def outcome_of(number: int, folder: Path) -> dict[str, object]:
    path, family, about = malformed.make(number, folder)
    outcome: dict[str, object] = {"number": number, "family": family, "about": about}
    start = time.perf_counter()
    try:
        inspect(path)
        examine(path, folder)
        outcome |= {"outcome": "taken"}
    except QuantcoreError as error:
        outcome |= {"outcome": "refused", "reason": error.reason, "remedy": error.remedy}
    except BaseException:
        outcome |= {"outcome": "broke", "reason": traceback.format_exc()}
    finally:
        path.unlink()
    return outcome | {"seconds": round(time.perf_counter() - start, 3)}


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    os.environ["INTAKE_MARK"] = str(folder)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for argument in sys.argv[2:]:
        sys.stdout.write(json.dumps(outcome_of(int(argument), folder)) + "\n")
        sys.stdout.flush()
