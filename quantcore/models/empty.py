"""Modules built without filling their parameters, for a state dict or for their shapes alone."""

from collections.abc import Callable
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class EmptyParameters(TorchFunctionMode):
    """Put parameters, which layers allocate as uninitialised memory, on the meta device.

    `torch.device("meta")` as a context would move every tensor, also those that constructors
    compute sizes with, and RegNet's constructor reads such tensors back.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Call the function, with the device changed where it allocates."""
        kwargs = dict(kwargs or {})
        if func is torch.empty and kwargs.get("device") is None:
            kwargs["device"] = "meta"
        return func(*args, **kwargs)
