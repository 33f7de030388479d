__all__ = [
    "arguments",
]
