"""Programs in a file of weights: which names its pickle may mention, and the refusal of others.

A file of weights needs a dozen names: those that put tensors together. Training programs leave
others in it, like a learning rate as NumPy's kind of number; a few that can do nothing are put up
with and never run either. Whatever else is named is part of a program, and the file is refused.
"""

import json
import re
from typing import Any

from quantcore.errors import RequestError
from quantcore.untrusted.pickles import MAPPINGS, Call
from quantcore.untrusted.rebuild import QUANTIZED, STORAGES
from quantcore.untrusted.tensors import ALREADY, ALREADY_REMEDY, Contents
from quantcore.untrusted.text import shown

SAVE = (
    'Save its numbers instead, in Python:\nimport torch\ntorch.save(model.state_dict(), "model.pt")'
)
NEEDED = re.compile(
    r"torch\._utils\._rebuild_(tensor|tensor_v2|tensor_v3|parameter|parameter_with_state|qtensor|"
    r"sparse_tensor|meta_tensor_no_storage|device_tensor_from_numpy|device_tensor_from_cpu_tensor)"
    r"|torch\._tensor\._rebuild_from_type_v2|torch\.serialization\._get_layout"
    r"|torch\.(Size|Tensor|device|nn\.parameter\.(Parameter|Buffer))"
    rf"|torch\.(storage\.|cuda\.)?({'|'.join(STORAGES)}|TypedStorage)"
    r"|torch\.(b?float\d+\w*|float|double|half|u?int\d+|long|int|short|bool|complex\d+|q\w*int\w+)"
    r"|torch\.per_(tensor|channel)_\w+"
)
HARMLESS = re.compile(
    r"_codecs\.encode|builtins\.(set|frozenset|bytearray|complex|list|dict|tuple|int|float|str|"
    r"bool|range|slice)"
    r"|numpy(\._core|\.core)?\.(multiarray\.(scalar|_reconstruct)|ndarray|dtype|float\d+|int\d+|"
    r"bool_?|numeric\._frombuffer)|numpy\.dtypes\.\w+"
    r"|argparse\.Namespace|types\.SimpleNamespace|datetime\.(date|time|datetime|timedelta|timezone)"
    r"|pathlib\.(_local\.)?(Pure)?(Posix|Windows)?Path|uuid\.UUID|decimal\.Decimal"
    r"|collections\.deque"
    r"|(pytorch_lightning|lightning|lightning_fabric)(\.\w+)*\.(AttributeDict|ModelCheckpoint|"
    r"EarlyStopping|TrainerFn)"
    r"|omegaconf\.(dictconfig\.DictConfig|listconfig\.ListConfig|nodes\.\w+|base\.\w+)"
    r"|(easydict\.EasyDict|yacs\.config\.CfgNode|addict\.addict\.Dict)|typing\.Any"
)
SYMBOL = re.compile(r"Symbol\('[a-z]{1,4}\d+'(, \w+=(True|False))*\)")
ARITHMETIC = re.compile(r"([A-Z][A-Za-z]*\(|[a-z]\d+|true|false|True|False|oo|[-+*/%<>=\d\s,()])*")
MODULE_STATE = "_modules"
EIGHT_BIT = re.compile(r"torch\.(ao\.)?(nn\.)?quantiz|torch\.ao\.nn\.|torch\.classes\.quantized")


def refuse(contents: Contents) -> None:
    """Refuse contents that are, or hold, a program.

    Raises:
        RequestError: the sentence names the program's part: the class of a pickled module, or what
            the pickle would call.
    """
    odd = sorted(
        name
        for name in contents.globals
        if name not in MAPPINGS and not NEEDED.fullmatch(name) and not HARMLESS.fullmatch(name)
    )
    if QUANTIZED in contents.globals or any(EIGHT_BIT.match(name) for name in odd):
        raise RequestError(ALREADY, ALREADY_REMEDY)
    module = _module(contents.value)
    if module is not None:
        raise RequestError(
            f"This file holds a whole pickled module ({shown(module)}), which is a program.", SAVE
        )
    if odd:
        more = f" and {len(odd) - 1:,} more" if len(odd) > 1 else ""
        raise RequestError(
            f"Beside numbers, the file names parts of programs ({shown(odd[0])}{more}) that would "
            "run when it is opened the ordinary way.",
            SAVE,
        )


def pickles(config: bytes) -> bool:
    """Return whether a .pt2's list of tensors asks for one to be unpickled, or cannot be read."""
    try:
        listed = json.loads(config)["config"].values()
        return any(entry.get("use_pickle") is not False for entry in listed)
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        return True


def check_sizes(program: bytes) -> None:
    """Check the sizes in an exported program's graph that are left free.

    torch.export.load has them evaluated as Python, so they must be nothing but arithmetic.

    Raises:
        RequestError: one is more than that, or the graph cannot be read.
    """
    try:
        waiting = [json.loads(program)]
    except (ValueError, RecursionError) as error:
        raise RequestError(
            "The .pt2 is damaged: its graph cannot be read.", "Save the program again."
        ) from error
    while waiting:
        item = waiting.pop()
        if isinstance(item, dict):
            waiting.extend(item.values())
            text = item.get("expr_str", "")
            if not isinstance(text, str) or not ARITHMETIC.fullmatch(SYMBOL.sub("s0", text)):
                raise RequestError(
                    "The .pt2 holds code where the size of a tensor belongs.",
                    "Export the model again, and upload the file as torch.export.save wrote it.",
                )
        elif isinstance(item, list):
            waiting.extend(item)


def _module(value: Any) -> str | None:
    """Return the class of the module that a value is, or holds under one of its names."""
    items = [value, *value.values()] if isinstance(value, dict) else [value]
    for item in items:
        state = item.state if isinstance(item, Call) else None
        if isinstance(item, Call) and isinstance(state, dict) and MODULE_STATE in state:
            path = item.path or _instance(item)
            return path or "a class of its own"
    return None


def _instance(call: Call) -> str:
    """Return the class that a call of `copyreg` makes an instance of."""
    arguments = call.arguments
    first = arguments[0] if isinstance(arguments, tuple) and arguments else None
    return getattr(first, "path", "")
