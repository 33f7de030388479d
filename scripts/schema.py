"""Write `docs/schema.json`, the JSON schema of a comparison: `python -m scripts.schema`."""

import json

from quantcore.schema import json_schema
from scripts.serve import PROJECT

SCHEMA = PROJECT / "docs" / "schema.json"


def text() -> str:
    """Return the content of the file."""
    return json.dumps(json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    SCHEMA.write_text(text())
