"""What `import quantcore` offers, and the command line is written with."""

from quantcore.api.comparing import compare
from quantcore.api.comparison import Comparison
from quantcore.api.exporting import Delivery, Destination, Exporting, export

__all__ = [
    "Comparison",
    "Delivery",
    "Destination",
    "Exporting",
    "compare",
    "export",
    "model_file",
]
