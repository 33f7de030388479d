"""What tests that compute with torch in their own process share."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch

# torch warns that eager mode ends some day, that observers saw little, and that traces are fixed.
QUIET = [
    pytest.mark.filterwarnings(f"ignore::{category}")
    for category in ("DeprecationWarning", "UserWarning", "torch.jit.TracerWarning")
]


@contextmanager
def one_thread(engine: str | None = None) -> Iterator[None]:
    """Compute on one thread, with that quantized engine; leave torch's globals as they were."""
    threads, before = torch.get_num_threads(), torch.backends.quantized.engine
    fast_attention = torch.backends.mha.get_fastpath_enabled()
    torch.set_num_threads(1)
    torch.backends.quantized.engine = engine or before
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.backends.quantized.engine = before
        torch.backends.mha.set_fastpath_enabled(fast_attention)
