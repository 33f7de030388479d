"""`python -m quantcore`."""

import signal
import sys


def main() -> None:
    """Run the command line; Ctrl-C ends it in silence while it is still being imported."""
    try:
        from quantcore.cli.main import main as run
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
    run()


if __name__ == "__main__":
    main()
