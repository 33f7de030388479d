"""A process that serves a data folder as the web server does, without pages: `DATA` as argument.

Reads commands from standard input: `start REQUEST` and `retry ID`; answers with an id a line.
"""

import sys
from pathlib import Path

from quantcore.schema import CompareRequest
from quantcore.service import Service
from quantcore.settings import Settings


def main() -> None:
    """Go on with what was under way, and do what is asked, until standard input closes."""
    service = Service(Settings(Path(sys.argv[1])))
    service.resume()
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "start":
            answer = service.start(CompareRequest.from_json(argument))
        else:
            answer = service.retry(argument)
        sys.stdout.write(f"{answer}\n")
        sys.stdout.flush()
    service.close()


if __name__ == "__main__":
    main()
