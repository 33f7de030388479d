"""Every word the pages use, with its meaning in a sentence or two.

What a tooltip says is taken from where the tooltip takes it, so that the two never differ.
"""

import re
from collections.abc import Mapping
from functools import cache

from markupsafe import Markup

from quantcore.draw import tables, titles
from quantcore.formats import FORMATS
from quantcore.schema import FLOAT_WORKFLOW
from quantcore.workflows import WORKFLOWS
from ui.common import fields, fragments

Meanings = Mapping[str, str]

ANSWER: Meanings = {
    "Target": "Where the model will run: on a server or PC, in a phone app, or in a browser. It "
    "decides which backends are compared, and whether times of this machine count.",
    "Variant": "One version of a model, in 8 or 16 bits or float32: a workflow with its settings, "
    "on a backend.",
    "Verdict": "Which variant to ship: of those that keep every budget, the one that gains most "
    "and that no other really beats.",
    "Budget": "The most that a product can spend on size, latency, lost accuracy or memory. What "
    "costs more is not recommended.",
    "Pareto front": "The variants that no other beats in size, latency and accuracy together. The "
    "plot shows all others paler.",
    "Beaten": "Another variant is surely better in one figure, and not worse in the rest.",
    "Tie": "No difference in size, latency or accuracy is both sure and large enough to count.",
    "Too close to call": "A figure whose interval crosses a budget, so the data cannot say whether "
    "the variant keeps it.",
    "Promise": "What the recipe for 8 bits says: 4× smaller, 2 to 4× faster, as accurate. Each is "
    "held against what was measured.",
}
MEASURED: Meanings = {
    "Median": "The middle of all timed calls: half of them were faster, half slower. Also called "
    "p50; p90 is what 9 of 10 calls stay within.",
    "Interval": "The range that holds the true figure in 95 of 100 such measurements. More images "
    "make it narrower, and so do more starts.",
    "Points": "Percentage points: from 93 % to 92 % is one point lost.",
    "Agreement": "On how many images a variant gives float32's answer, whether right or wrong.",
    "Unsettled": "The speed-up is known less well than ±10 %, or the machine was busy.",
    "Machine was busy": "Others slowed the processor down in so many starts that too few "
    "undisturbed ones are left. Such a variant can lose a verdict but not win it.",
    "SQNR": "Signal to quantization noise: how large a model's outputs are next to the error that "
    "8 bits cause, in decibels. More is better.",
    "Warm-up": "Calls before the timed ones, since the first are slower than all later ones.",
    "Start": "A file loaded anew into a process of its own. Every start has a speed of its own, so "
    "each file is started several times.",
    "Round": "A few timed calls of a variant, of float32 and of the first variant in turn, so that "
    "whatever disturbs the machine strikes all.",
    "Batch": "How many images one call is given. Latency is of the whole call.",
    "Thread": "One strand of work of the processor; a model may be given several.",
}
NUMBERS: Meanings = {
    "Quantization": "Writing a model's numbers with fewer bits: here 8, which are whole numbers "
    "with a scale, in place of 32.",
    "16 bits": "Numbers with a point, as float32's, in half the space: bfloat16 or float16. They "
    "need no calibration.",
    "int8": "Whole numbers of 8 bits, of which there are 256. They take a quarter of the space of "
    "float32.",
    "Calibration": "Showing the model some unlabelled images, to learn each layer's range of "
    "numbers before it is fixed.",
    "Observer": "What watches a layer during calibration and settles its range. Minimum and "
    "maximum keep rare outliers; histogram, percentile and entropy cut them off.",
    "Dot product": "Many products added up, which is most of what a model computes. A processor "
    "that has them for 8 bits (VNNI, or ARM's) needs no bit left free for the sums.",
    "Per channel": "One scale for each output channel of a layer, which is finer than one for the "
    "whole layer.",
    "Fake quantization": "Rounding to 8 bits and back while a model trains, so that it learns to "
    "live with the rounding.",
    "Quantization-aware training": "Fine-tuning with fake quantization in the loop. The workflow "
    "QAT does this.",
}
KERNELS: Meanings = {
    "Backend": "The kernels that run the numbers; each is made for certain processors.",
    "Kernel": "The program of one kind of layer, written for one kind of processor.",
    "Engine": "The part of PyTorch that a backend's kernels are in. It is chosen before a file is "
    "loaded.",
    "VNNI": "Instructions of newer Intel and AMD processors that multiply 8-bit numbers at once. "
    "Without them, going to 8 bits gains less speed.",
    "Multiply-add": "One product added to a sum. Nearly all that a model computes is made of them, "
    "so their number says how much work it is.",
    "XNNPACK": "Fast kernels for phones and PCs. A file for ExecuTorch is lowered to them: the "
    "layers that they have are delegated, which is to say that XNNPACK runs them.",
    "Plain loop": "How ExecuTorch runs a layer that is not delegated to XNNPACK: right, but slow. "
    "A variant that leaves much to such loops says so.",
}
FILES: Meanings = {
    "Artifact": "The file that would ship. Every size is its bytes; every latency and accuracy is "
    "of that file, loaded afresh.",
    "Export": "A variant written in the format that an app's runtime takes.",
    "Verification report": "What was checked of an exported file: that it loads in a fresh "
    "process, answers as its variant, how fast and large it is, and what was not checked.",
    "Runtime": "The program in an app that loads a model's file and runs it.",
    "Lite interpreter": "The small runtime of PyTorch Mobile, on Android and iOS.",
    "Operator": "One step of a model in a file, such as a convolution. A runtime takes only files "
    "whose operators it has.",
    "QDQ": "How an ONNX file says that numbers have 8 bits: a pair of steps, quantize and "
    "dequantize, around each operator. ONNX Runtime turns them into 8-bit kernels.",
}
UPLOADED: Meanings = {
    "Upload": "A file that you uploaded. Only you see it; it expires after some days, with "
    "all that was made from it, or is gone at once when you delete it.",
    "State dict": "A model's numbers by name, without its architecture. It holds no program, so "
    "it is the safest form to upload; one of torchvision's architectures is built around it.",
    "safetensors": "A file of numbers by name, as a state dict, that cannot hold a program.",
    "TorchScript program": "A model with its numbers as a program that PyTorch runs without "
    "Python. To look at one is to run it, so it is only ever run in a sandbox.",
    "Exported program": "What torch.export writes: a model with its numbers as a graph of "
    "operators. It, too, is only ever run in a sandbox.",
    "Normalisation": "Taking the mean from each colour and dividing by its spread (std), as was "
    "done when the model was trained. Other values make it see worse.",
}
REQUESTS: Meanings = {
    "Job": "One comparison that was asked for. It goes on when the page is closed, and after a "
    "restart of the server.",
    "Sweep": "Several models and settings asked for in one go; each combination is measured beside "
    "its float32.",
    "Cache": "What was converted or measured before; it returns at once when asked for again.",
}


@cache
def groups() -> Mapping[str, Meanings]:
    """Return every word with its meaning, by what the words are about."""
    float32 = WORKFLOWS[FLOAT_WORKFLOW]
    settings = {fields.FIELDS[name].label: fields.FIELDS[name].help for name in fields.FIELDS}
    formats = {kind.title: kind.summary for kind in FORMATS.values()}
    versions = {name: settings[name] for name in ("Bytecode", "Opset")}
    return {
        "The answer": ANSWER,
        "Figures": {**{column.title: column.help for column in tables.COLUMNS}, **MEASURED},
        "From 32 bits to 8": NUMBERS,
        "Workflows": {float32.title: float32.summary, **titles.workflow_summaries()},
        "Backends": {**KERNELS, **titles.backend_summaries()},
        "Your own model": UPLOADED,
        "Files for apps": {**FILES, **formats, **versions},
        "Asking": REQUESTS,
    }


def matching(text: str) -> Mapping[str, Meanings]:
    """Return the groups with the words that hold a text, or whose meaning does."""
    wanted = _plain(text).split()
    fitting = {
        title: {
            word: meaning
            for word, meaning in meanings.items()
            if all(part in _plain(f"{word} {meaning}") for part in wanted)
        }
        for title, meanings in groups().items()
    }
    return {title: meanings for title, meanings in fitting.items() if meanings}


def _plain(text: str) -> str:
    """Return a text in which `Per-channel` is `per channel`."""
    return text.casefold().replace("-", " ")


def anchor(word: str) -> str:
    """Return the fragment (after #) in the address of a word."""
    return re.sub(r"[^a-z0-9]+", "-", word.casefold()).strip("-")


def html(meanings: Meanings) -> Markup:
    """Return words and meanings as a list; each word is a link to itself."""
    words = [(anchor(word), word, meaning) for word, meaning in meanings.items()]
    return fragments.render("words.html", words=words)
