"""What `import quantcore` offers, and the command line is written with."""

from quantcore.api.comparing import compare
from quantcore.api.comparison import Comparison
from quantcore.api.exporting import Delivery, Exporting, Target, export

__all__ = [
    "Comparison",
    "Delivery",
    "Exporting",
    "Target",
    "compare",
    "export",
    "model_file",
]
