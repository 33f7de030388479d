"""The models that are offered to everybody: found, narrowed, chosen, and taken to be compared."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import streamlit as st
from markupsafe import Markup

from quantcore import wording
from quantcore.backends import BACKENDS
from quantcore.draw import titles
from quantcore.models import ModelInfo, offered
from ui.common import choices, fragments, owned_uploads, site, state
from ui.common.markdown import Markdown, markdown
from ui.common.state import Parameter

PAGE_LENGTH = 24
PART, UPLOAD, CHOSEN, FIND, SORT = "part", "upload", "chosen", "find", "sort"
PARTS = {"models": "All models", "bring": "Upload your own", "mine": "Yours"}
MEGABYTES = ("10", "25", "50", "100", "250", "500")
GFLOPS = ("0.1", "0.5", "1", "5", "10", "20")
PERCENT = ("60", "70", "75", "80", "85", "90")
NONE_FITS = fragments.empty(
    "No model is all of that", "Widen or clear a filter: {count} models are here."
)
ACCURACY_HELP = (
    "Of bundled models it was measured on Fashion-MNIST. Of torchvision's it is what torchvision "
    "published for ImageNet, which is far harder: compare within one of the two."
)
WAYS = {
    "eager": "Static, by torchvision's 8-bit twin",
    "fx": "Static, by FX graph",
    "dynamic": "Dynamic only",
    "none": "Not at all",
}
WAYS_HELP = (
    "How the model's layers come to run in 8 bits. torchvision has twins of some models that are "
    "made for it; of the others PyTorch reads the graph. Some can only be quantized dynamically."
)


def size_mb(info: ModelInfo) -> float:
    """Return the megabytes that a model's card says; more than any where it says none."""
    return info.figures.size_bytes / 1e6 if info.figures else float("inf")


def top1(info: ModelInfo) -> float:
    """Return the accuracy that a model's card says, 0 to 1; none where it says none."""
    return info.figures.top1 if info.figures else 0.0


def way(info: ModelInfo) -> str:
    """Return how a model comes to run in 8 bits, as `WAYS` has it."""
    return info.static_mode or ("dynamic" if info.dynamic_layers else "none")


def ready_backends(info: ModelInfo) -> list[str]:
    """Return the backends for whose engine ready-quantized weights of a model are published."""
    return [name for name, each in BACKENDS.items() if each.engine in info.pretrained_engines]


@dataclass(frozen=True)
class Filter:
    """One way to narrow the models down.

    Attributes:
        key: in the address.
        options: values of the widget, as the address holds them.
        says: what a value is called.
        fits: whether a model is let through by a value.
    """

    key: str
    label: str
    help: str
    options: Sequence[str]
    says: Callable[[str], str]
    fits: Callable[[ModelInfo, str], bool]


FILTERS = (
    Filter(
        "source",
        "From",
        "Bundled models are here and run offline; torchvision's weights are fetched once.",
        ("bundled", "torchvision"),
        {"bundled": "Bundled", "torchvision": "torchvision"}.__getitem__,
        lambda info, value: info.source == value,
    ),
    Filter(
        "mb",
        "Size, at most",
        "Of a bundled model's float32 file, and of the weights that torchvision published.",
        MEGABYTES,
        "{} MB".format,
        lambda info, value: size_mb(info) <= float(value),
    ),
    Filter(
        "gflops",
        "Work, at most",
        "Billions of multiply-adds for one image of the model's own size.",
        GFLOPS,
        "{} GFLOPs".format,
        lambda info, value: info.gflops is not None and info.gflops <= float(value),
    ),
    Filter(
        "top1",
        "Top-1, at least",
        ACCURACY_HELP,
        PERCENT,
        "{} %".format,
        lambda info, value: top1(info) >= float(value) / 100,
    ),
    Filter("way", "In 8 bits", WAYS_HELP, tuple(WAYS), WAYS.__getitem__, lambda i, v: way(i) == v),
    Filter(
        "ready",
        "Ready-made for",
        "Somebody published weights that are quantized already, for these kernels.",
        tuple(
            name
            for name in BACKENDS
            if any(name in ready_backends(info) for info in offered().values())
        ),
        titles.backend,
        lambda info, value: value in ready_backends(info),
    ),
)
ORDERS: Mapping[str, tuple[str, Callable[[ModelInfo], float]]] = {
    "listed": ("As listed", lambda _: 0.0),
    "size": ("Smallest first", size_mb),
    "work": ("Least work first", lambda info: info.gflops or float("inf")),
    "accuracy": ("Most accurate first", lambda info: -top1(info)),
}


def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds."""
    return (
        state.target_parameter(),
        Parameter(PART, ("models",), tuple(PARTS)),
        Parameter(UPLOAD, (), None),
        Parameter(FIND, (), None),
        *(Parameter(each.key, (), each.options) for each in FILTERS),
        Parameter(SORT, ("listed",), tuple(ORDERS)),
        Parameter(CHOSEN, (), tuple(offered()), many=True),
    )


def choose_part() -> str:
    """Draw the choice of the page's part; return it."""
    count = len(owned_uploads.mine())
    labels = PARTS | ({"mine": f"{PARTS['mine']} · {count}"} if count else {})
    return str(
        st.segmented_control(
            "Part of this page",
            list(PARTS),
            key=PART,
            required=True,
            label_visibility="collapsed",
            format_func=lambda part: markdown(labels[part]),
        )
    )


def go_to(part: str, token: str | None = None) -> None:
    """Show another part of the page, about an upload where one is named."""
    st.session_state[PART], st.session_state[UPLOAD] = part, token


def draw() -> None:
    """Draw what models are looked for, those that fit, and what to do with the chosen."""
    _ask()
    fitting = matching()
    container = st.container()
    if not fitting:
        st.html(NONE_FITS.format(count=len(offered())))
    else:
        _cards(fitting)
    with container:
        _chosen(len(fitting))


def matching() -> list[ModelInfo]:
    """Return the models that fit all that is asked for, in the order that is."""
    filters = {each: st.session_state.get(each.key) for each in FILTERS}
    wanted = _words(str(st.session_state.get(FIND) or ""))
    fitting = [
        info
        for info in offered().values()
        if all(part in _findable(info) for part in wanted)
        and all(value is None or each.fits(info, str(value)) for each, value in filters.items())
    ]
    _, order = ORDERS[str(st.session_state.get(SORT) or "listed")]
    return sorted(fitting, key=order)


def _words(text: str) -> list[str]:
    return "".join(each if each.isalnum() else " " for each in text.casefold()).split()


def _findable(info: ModelInfo) -> str:
    """Return a model's names in which both `resnet 18` and `resnet18` are found."""
    return " ".join([*_words(info.name), *_words(info.title), "".join(_words(info.title))])


def _ask() -> None:
    with st.container(border=True, key="find-models"):
        left, right = st.columns([2.2, 1])
        left.text_input("Find a model", key=FIND, placeholder="resnet, mobile, vit …")
        right.selectbox("Order", list(ORDERS), key=SORT, format_func=lambda name: ORDERS[name][0])
        with st.container(key="filters"):
            for each, column in zip(FILTERS, st.columns(len(FILTERS)), strict=True):
                column.selectbox(
                    each.label,
                    list(each.options),
                    index=None,
                    key=each.key,
                    format_func=each.says,
                    placeholder="Any",
                    help=each.help,
                )


def _chosen(count: int) -> None:
    """Say how many models fit, and draw the button that compares the chosen."""
    chosen: list[str] = st.session_state[CHOSEN]
    with st.container(horizontal=True, vertical_alignment="center", key="chosen-models"):
        st.markdown(
            Markdown("{} of {}. {}").format(
                wording.count(count, "model"), len(offered()), _named(chosen)
            )
        )
        if chosen:
            st.button("Choose none", on_click=_choose_none)
        label = "Compare it" if len(chosen) == 1 else "Compare these"
        if st.button(
            label,
            type="primary",
            icon=":material/speed:",
            disabled=not chosen,
            key="compare-chosen",
            help=None if chosen else "Choose a model first.",
        ):
            _compare(chosen)


def _named(chosen: Sequence[str]) -> Markdown:
    if not chosen:
        return Markdown("Choose one or more.")
    return Markdown("**Chosen: {}.**").format(wording.joined(list(titles.models(chosen).values())))


def _compare(chosen: Sequence[str]) -> None:
    if len(chosen) == 1:
        address = {"model": chosen[0], **state.target_address()}
        st.switch_page(site.COMPARE, query_params=address)
    address = {choices.MODELS: ",".join(chosen), **state.target_address()}
    st.switch_page(site.SWEEP, query_params=address)


def _choose_none() -> None:
    for name in st.session_state[CHOSEN]:
        st.session_state.pop(_key(name), None)
    st.session_state[CHOSEN] = []


def _cards(fitting: Sequence[ModelInfo]) -> None:
    pages = -(-len(fitting) // PAGE_LENGTH)
    rows = st.container(key="models")
    # Another number of models makes other pages, so the widget is made anew with them.
    page = st.pagination(pages, key=f"models-page-{len(fitting)}") if pages > 1 else 1
    with rows:
        for info in fitting[(page - 1) * PAGE_LENGTH : page * PAGE_LENGTH]:
            _card(info)


def _key(name: str) -> str:
    return f"pick-{name}-{state.visit()}"


def _card(info: ModelInfo) -> None:
    with st.container(border=True, key=f"card-{info.name.replace('/', '-')}", gap="small"):
        st.checkbox(
            markdown(info.title),
            value=info.name in st.session_state[CHOSEN],
            key=_key(info.name),
            on_change=partial(_toggle, info.name),
        )
        st.html(_facts(info))


def _toggle(name: str) -> None:
    chosen: list[str] = st.session_state[CHOSEN]
    others = [each for each in chosen if each != name]
    st.session_state[CHOSEN] = [*others, name] if st.session_state[_key(name)] else others


def _facts(info: ModelInfo) -> Markup:
    """Return the facts on a model's card as HTML."""
    where = "bundled" if info.source == "bundled" else "torchvision"
    work = f"{info.gflops:.2g} GFLOPs" if info.gflops is not None else ""
    side = f"{info.image_size} px"
    facts = [
        *([info.figures.size, info.figures.accuracy] if info.figures else []),
        ", ".join(filter(None, [f"{info.parameters / 1e6:.1f} M parameters", work, side])),
        _eight_bits(info),
    ]
    return fragments.render("model_facts.html", source=where, facts=facts)


def _eight_bits(info: ModelInfo) -> str:
    """Return how a model comes to run in 8 bits: `FX graph, ready-made for x86`."""
    ready = [titles.backend(name) for name in ready_backends(info)]
    prequantized = f"; ready-made for {wording.joined(ready)}" if ready else ""
    return f"8 bits: {WAYS[way(info)][:1].lower()}{WAYS[way(info)][1:]}{prequantized}"
