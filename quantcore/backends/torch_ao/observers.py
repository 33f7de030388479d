"""An observer that torch lacks. Imports torch: only for functions that run in children."""

from typing import Any

import torch
from torch.ao.quantization import HistogramObserver


class FittedHistogramObserver(HistogramObserver):
    """Cuts outliers off where that costs least for the steps there really are.

    torch's own always weighs the cost for 256 steps, though a reduced range has 128. Then it cuts
    off too little or too much, by chance of the pictures: static MobileNetV3 under x86 lost 0.5
    to 8 points of top-1 depending on how many images it was calibrated on, and loses 0.3 with this.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        if settings.get("reduce_range"):
            self.dst_nbins = 2 ** (torch.iinfo(self.dtype).bits - 1)
