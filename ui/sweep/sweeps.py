"""A sweep on a page: chosen or uploaded as a file, its size, and its start."""

from collections.abc import Sequence

import streamlit as st

from quantcore import wording
from quantcore.errors import QuantcoreError
from quantcore.jobs import Host, Sweep, read_sweep, write_sweep
from quantcore.schema import CompareRequest
from ui.common import choices, hosts, progress, site, state, widgets
from ui.common.markdown import Markdown, reason_and_remedy

STARTED = "started_sweep"
WAYS = ("Choose here", "Upload a file")
FILE_HELP = (
    "Lists of models, workflows, backends and settings, as `python -m quantcore sweep` reads."
)
DOWNLOAD_HELP = (
    "The same sweep as a file: for the command line, `python -m quantcore sweep sweep.toml`, "
    "or to upload here again."
)
EXAMPLE = """models = ["bundled/mobilenet_v2", "bundled/resnet18"]
workflows = ["dynamic", "static"]
backends = ["x86"]
image_size = ["own", 96]

[static]
calibration_images = [64, 256]
observer = ["histogram", "minmax"]
"""


def ask(unread: Sequence[str] = ()) -> None:
    """Draw the sweep, its number of variants and time, and the button that starts it.

    Args:
        unread: what the address names in vain.
    """
    with st.container(border=True, key="sweep"):
        how = st.segmented_control(
            "How to ask", WAYS, default=WAYS[0], required=True, key="sweep.how"
        )
        try:
            sweep = choices.chosen() if how == WAYS[0] else _uploaded()
            requests = sweep.requests(state.settings().time_budget_s) if sweep else ()
        except QuantcoreError as error:
            sweep, requests = None, ()
            st.warning(reason_and_remedy(error.reason, error.remedy))
        host = hosts.choose()
        if host is not None and requests:
            progress.guarded(lambda: _say_outlook(requests, host))
        _actions(sweep, requests, host)
    progress.show_notices(unread)
    _link()


def _uploaded() -> Sweep | None:
    """Draw where a file is dropped or pasted; return the sweep it asks for."""
    file = st.file_uploader(
        "Request file", type=["toml"], key="sweep.file", help=FILE_HELP, max_upload_size=1
    )
    pasted = st.text_area("Or paste it", key="sweep.text", height=240, placeholder=EXAMPLE)
    text = file.getvalue().decode("utf-8", "replace") if file else pasted
    if not text.strip():
        return None
    where = file.name if file else "The text"
    return read_sweep(text, state.settings().threads, None, where)


def _say_outlook(requests: Sequence[CompareRequest], host: Host) -> None:
    """Say how many variants it makes, and about how long they take."""
    outlook = state.service().outlook(requests, host)
    models = len({request.model for request in requests})
    are = "is" if outlook.refused == 1 else "are"
    impossible = f", of which {outlook.refused} {are} not possible" if outlook.refused else ""
    st.markdown(
        Markdown(
            "**{}** of {}, float32 included{}. They take **{}**; what is measured already returns "
            "at once."
        ).format(
            wording.count(outlook.variants, "variant"),
            wording.count(models, "model"),
            impossible,
            wording.about(outlook.seconds),
        )
    )


def _actions(sweep: Sweep | None, requests: Sequence[CompareRequest], host: Host | None) -> None:
    with st.container(horizontal=True, key="sweep-actions"):
        ready = bool(sweep and requests and host)
        pressed = st.button(
            "Start the sweep",
            type="primary",
            icon=":material/speed:",
            disabled=not ready,
            key="sweep.start",
        )
        if sweep:
            st.download_button(
                "Download as TOML",
                write_sweep(sweep),
                "sweep.toml",
                "application/toml",
                on_click="ignore",
                icon=":material/download:",
                help=DOWNLOAD_HELP,
            )
    if pressed and sweep and host:
        progress.guarded(lambda: _start(requests, host, sweep.name))


def _start(requests: Sequence[CompareRequest], host: Host, name: str) -> None:
    st.session_state[STARTED] = widgets.start(requests, host, name)


def _link() -> None:
    """Link to the sweep that this visitor started last."""
    job_id = st.session_state.get(STARTED)
    if job_id:
        with st.container(horizontal=True, vertical_alignment="center", key="sweep-started"):
            st.success("**The sweep has started.** It goes on when you close the page.")
            site.link_to_job(job_id, "Open it on the Compare page")
