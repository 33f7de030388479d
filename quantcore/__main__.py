"""`python -m quantcore`."""

from quantcore.cli.main import main

if __name__ == "__main__":
    main()
