"""A model fine-tuned on the visitor's classes: the choice, the progress and the result."""

from functools import cache
from typing import Literal

import streamlit as st

from quantcore import uploads, wording
from quantcore.draw import curve
from quantcore.errors import QuantcoreError
from quantcore.fine_tuning import (
    MAX_EPOCHS,
    USUAL_EPOCHS,
    FineTuning,
    FineTuningSpec,
    FineTuningView,
    tunable,
)
from quantcore.models import ModelInfo, find
from quantcore.schema import ModelSpec
from quantcore.uploads import Upload
from ui.common import fragments, owned_uploads, progress, site, state, visitor
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.common.state import Parameter
from ui.models import pictures

REFRESH_S = 0.5
# The last is also in older links, so it keeps its name.
BACKBONE, EPOCHS, RUN = "backbone", "epochs", "lesson"
ICON = ":material/school:"
EMPTY = fragments.empty(
    "Upload images first",
    "A zip with a folder of images for each class is enough: the model is trained on most of them "
    "and evaluated on the others. A hundred of each class go a long way.",
)
NOT_YET = fragments.empty(
    "Nothing fine-tuned yet",
    "The curve of how it learns will be here, and then the way to make it 8-bit and measure it.",
)
BACKBONE_HELP = (
    "The model that is fine-tuned on the new classes. It keeps what it learned of edges, shapes "
    "and textures; only its last layer starts anew. The bundled models see grey images of 64 px "
    "and learn in seconds; torchvision's see colours at 224 px and take minutes."
)
IMAGES_HELP = "Yours, with labels. Those that the model is evaluated on later are never trained on."
EPOCHS_HELP = (
    "How often every training image is seen. More rarely harms: the weights of the best epoch are "
    "kept."
)
WAY_SENTENCE = (
    "First the new last layer alone, then every weight. The rounding to 8 bits is trained in when "
    "it is compared, by the workflow QAT, on these same images."
)
GONE = (
    "This fine-tuning run is no longer known here: the server was started again, or it was long "
    "ago. A model that it made is among your uploads on the Models page."
)


@cache
def parameters() -> tuple[Parameter, ...]:
    """Return everything the address of this page holds."""
    return (
        Parameter(BACKBONE, (state.DEFAULT_MODEL,), tuple(tunable())),
        Parameter(state.IMAGES, (), state.UploadNames()),
        Parameter(RUN, (), None),
    )


def fine_tuning() -> FineTuning:
    """Return the fine-tuning runs of this server."""
    return state.service().fine_tuning


def labelled() -> dict[str, Upload]:
    """Return the visitor's own pictures that say what they show, by name."""
    return {
        name: upload
        for name, upload in owned_uploads.images().items()
        if upload.images is not None and len(upload.images.classes) > 1
    }


def draw() -> None:
    """Draw what is asked for, and the run that the address names."""
    run_id = st.session_state.get(RUN)
    view = fine_tuning().view(str(run_id)) if run_id else None
    if view is not None and view.is_open:
        st.fragment(_follow, run_every=REFRESH_S)(str(run_id))
        return
    if run_id and view is None:
        st.warning(GONE)
    own = labelled()
    if own:
        _ask(own, is_main=view is None or view.upload is None)
    if view is not None:
        _over(view)
    elif own:
        st.html(NOT_YET)
    else:
        st.html(EMPTY)
        if st.button("Upload images", type="primary", icon=":material/upload:"):
            st.switch_page(site.MODELS, query_params={"part": "bring"})


def _ask(own: dict[str, Upload], *, is_main: bool) -> None:
    """Draw the choice of model and pictures, and the button that starts the run."""
    models = tunable()
    if st.session_state.get(state.IMAGES) not in own:
        st.session_state[state.IMAGES] = next(iter(own))
    labels = owned_uploads.distinct_labels({name: _of(own[name]) for name in own})
    with st.container(border=True, key="ask-fine-tuning"):
        left, right = st.columns(2, gap="medium")
        left.selectbox(
            "Model",
            list(models),
            format_func=lambda name: _title(models[name]),
            key=BACKBONE,
            help=BACKBONE_HELP,
        )
        right.selectbox(
            "Images",
            list(own),
            format_func=labels.__getitem__,
            key=state.IMAGES,
            help=IMAGES_HELP,
        )
        with st.expander("Settings", type="compact", key="fine-tuning-settings"):
            st.number_input(
                "Epochs",
                1,
                MAX_EPOCHS,
                USUAL_EPOCHS,
                key=EPOCHS,
                help=EPOCHS_HELP,
                width=200,
            )
            st.caption(WAY_SENTENCE)
        kind: Literal["primary", "secondary"] = "primary" if is_main else "secondary"
        st.button("Teach it", type=kind, icon=ICON, on_click=_start, key="teach")


def _title(info: ModelInfo) -> str:
    source = "bundled" if info.source == "bundled" else "torchvision"
    return f"{info.title}, {source}, {info.image_size} px"


def _of(upload: Upload) -> str:
    contents = f": {pictures.recognised(upload.images)}" if upload.images else ""
    return f"{uploads.title(upload)}{contents}"


def _start() -> None:
    def start() -> None:
        spec = FineTuningSpec(
            ModelSpec(st.session_state[BACKBONE]),
            st.session_state[state.IMAGES],
            int(st.session_state[EPOCHS]),
        )
        st.session_state[RUN] = fine_tuning().start(spec, visitor.current().owner)

    progress.guarded(start)


def _follow(run_id: str) -> None:
    """Draw how far a run is; its end draws the page once more."""
    view = fine_tuning().view(run_id)
    if view is None or not view.is_open:
        st.rerun()
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        left = wording.time_left(view.seconds_left)
        sentence = Markdown("**{}**{}").format(
            wording.capital(view.stage), f", {left}" if left else ""
        )
        text.progress(min(max(view.share, 0.0), 1.0), markdown(sentence))
        button.button(
            "Cancel",
            on_click=_cancel,
            args=[run_id],
            width="stretch",
            key="cancel-fine-tuning",
        )
        st.caption(markdown(_what(view)))
    _curve(view)


def _cancel(run_id: str) -> None:
    fine_tuning().cancel(run_id, visitor.current().owner)


def _what(view: FineTuningView) -> str:
    """Return which model is fine-tuned on which pictures, in a sentence."""
    return f"{_model(view)} learns the classes of {_images(view)}."


def _model(view: FineTuningView) -> str:
    return find(view.spec.backbone).title


def _images(view: FineTuningView) -> str:
    try:
        return uploads.title(uploads.find(view.spec.images))
    except QuantcoreError:
        return "images that are gone"


def _curve(view: FineTuningView) -> None:
    if not view.curve:
        return
    description = curve.text(view.curve)
    st.plotly_chart(
        curve.figure(view.curve, view.spec.epochs),
        config={"displayModeBar": False, "responsive": True},
        key="curve",
        alt=description,
    )
    st.caption(markdown(description))


def _over(view: FineTuningView) -> None:
    """Draw the result of a run."""
    if view.upload is None or view.upload.model is None:
        problem = view.problem
        if problem is not None:
            draw_it = st.info if view.state == "cancelled" else st.error
            draw_it(reason_and_remedy(problem.reason, problem.remedy))
        _curve(view)
        return
    model = view.upload.model
    classes = wording.joined([*model.labels[:5], *(["others"] if len(model.labels) > 5 else [])])
    with st.container(border=True, key="fine-tuned"):
        st.markdown(Markdown("**{}** tells {} apart.").format(uploads.title(view.upload), classes))
        if st.button(
            "Compare it on these images",
            type="primary",
            icon=":material/speed:",
            key="compare-fine-tuned",
        ):
            st.switch_page(
                site.COMPARE,
                query_params={"model": view.upload.name, state.IMAGES: view.spec.images},
            )
        st.caption("It is among your uploads on the Models page, and expires with them.")
    _curve(view)
