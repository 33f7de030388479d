"""The result of examining an untrusted model: plain data, from the child to its parent."""

from dataclasses import dataclass, field
from typing import Literal

WEIGHTS_FILE = "weights.safetensors"
PROGRAM_FILE = "model.pt"
GRAPH_FILE = "model.onnx"


@dataclass(frozen=True)
class Offered:
    """An architecture that a file's weights fit.

    Attributes:
        architecture: as torchvision names it.
        title: as people write it.
        classes: that its last layer tells apart.
        image_size: side in px that pictures have for it by default.
    """

    architecture: str
    title: str
    classes: int
    image_size: int


@dataclass(frozen=True)
class Examined:
    """A model as it was found in an untrusted file.

    Attributes:
        kind: weights alone, or which form of program.
        file: name of what was written into the folder.
        candidates: architectures that the weights fit, best first; none for a program.
        parameters: how many numbers were learned.
        outputs: numbers that the model answers a picture with, one a class.
        channels: of the pictures it takes.
        image_size: side in px that it takes; for a program, the first that worked.
        any_batch: it takes several pictures at once.
        labels: class names, if the file carries as many as there are outputs.
        dynamic_layers: how many layers of each type dynamic quantization would find.
        notes: sentences about what was left out or assumed.
        in_8_bits: it was quantized before it came.
        mean: of the three channels, where the file says so.
        std: of the three channels, where the file says so.
    """

    kind: Literal["state_dict", "torchscript", "exported_program", "onnx"]
    file: str
    candidates: tuple[Offered, ...]
    parameters: int
    outputs: int
    channels: int
    image_size: int
    any_batch: bool
    labels: tuple[str, ...] = ()
    dynamic_layers: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    in_8_bits: bool = False
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
