"""Run by Debian's Python: what its PyTorch 1.13 makes of a lite file.

`/usr/bin/python3 ask.py FILE ENGINE PICTURES LOGITS`: pictures and logits are numpy's files.
"""

import sys

import numpy as np
import torch
from torch.jit.mobile import _load_for_lite_interpreter

path, engine, pictures, logits = sys.argv[1:]
if engine not in torch.backends.quantized.supported_engines:
    sys.exit(f"PyTorch {torch.__version__} has no engine {engine}.")
torch.backends.quantized.engine = engine
module = _load_for_lite_interpreter(path)
with torch.no_grad():
    np.save(logits, module(torch.from_numpy(np.load(pictures))).numpy())
sys.stdout.write(torch.__version__)
