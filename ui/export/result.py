"""The result of an export: its progress, the file, its verification report, and its code."""

import streamlit as st

from quantcore import wording
from quantcore.draw import verification
from quantcore.errors import QuantcoreError
from quantcore.exports import ExportView, bundle, exports
from quantcore.report import figures
from quantcore.schema import (
    ExportSpec,
    VerificationReport,
)
from ui.common import fragments, progress, visitor
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.export.recorded import export_service

ICON = ":material/download:"
EMPTY = fragments.empty(
    "This file has not been made yet",
    "It will be here with its report: loaded by a fresh process, asked the same pictures as the "
    "variant it comes from, timed, and read back.",
    press="Make the file",
)
FAILED_FOLD = "Download anyway"
FAILED_SENTENCE = (
    "A check did not hold, so what the file does in an app is not what was measured. It is here "
    "for finding out why."
)


def is_running(spec: ExportSpec) -> bool:
    """Return whether this file is being made."""
    view = _latest(spec)
    return view is not None and view.is_open


def _latest(spec: ExportSpec) -> ExportView | None:
    """Return the view of the newest export of this file; None where none was requested."""
    export_id = export_service().latest(spec)
    return export_service().view(export_id) if export_id else None


def answer(spec: ExportSpec, was_running: bool) -> None:
    """Draw the file and its report, or how far it is, or the button that makes it.

    Args:
        spec: which file.
        was_running: as the page was drawn, which draws this again and again while it is so.
    """
    if progress.REFUSAL in st.session_state:
        # Only the whole page says why something was refused.
        st.rerun()
    view = _latest(spec)
    if was_running != (view is not None and view.is_open):
        st.rerun()
    if view is not None and view.is_open:
        _busy(view, str(export_service().latest(spec)))
        return
    try:
        support = exports.supports(spec)
        report = export_service().cached(spec) if support.ok else None
    except QuantcoreError as error:
        st.error(reason_and_remedy(error.reason, error.remedy))
        return
    if not support.ok:
        st.info(reason_and_remedy(support.reason, support.remedy))
    elif report is None:
        _offer(spec, view)
    else:
        _result(report)


def _offer(spec: ExportSpec, view: ExportView | None) -> None:
    """Draw the button that makes the file, under what became of the last try."""
    if view is not None and view.state == "cancelled":
        st.info("**Stopped.** Nothing was written.")
    elif view is not None and view.problem is not None:
        _failed(view.problem, view.details)
    again = view is not None
    st.button(
        "Try again" if again else "Make the file",
        type="primary",
        icon=":material/package_2:",
        key="make",
        on_click=lambda: progress.guarded(
            lambda: export_service().start(spec, visitor.current().owner)
        ),
    )
    if not again:
        st.html(EMPTY)


def _failed(problem: QuantcoreError, details: str) -> None:
    st.error(reason_and_remedy(problem.reason, problem.remedy))
    if details:
        with st.expander("Technical details", type="compact"):
            st.code(details, language=None)


def _busy(view: ExportView, export_id: str) -> None:
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        left = wording.time_left(view.seconds_left)
        stage = ", ".join(filter(None, [view.stage or "waiting for its turn", left]))
        sentence = reason_and_remedy(f"Making {exports.file_name(view.spec)}.", stage)
        text.progress(min(max(view.share, 0.0), 1.0), markdown(sentence))
        with button:
            st.button(
                "Cancel",
                on_click=lambda: progress.guarded(lambda: _cancel(export_id)),
                width="stretch",
            )


def _cancel(export_id: str) -> None:
    if not export_service().cancel(export_id, visitor.current().owner):
        st.toast("Another visitor waits for this file as well, so it goes on.")


def _result(report: VerificationReport) -> None:
    name = exports.file_name(report.spec)
    if report.passed:
        _downloads(report, name, is_primary=True)
    st.html(verification.verification_report(report, figures(report), name))
    if not report.passed:
        with st.expander(FAILED_FOLD, type="compact", key="anyway"):
            st.caption(FAILED_SENTENCE)
            _downloads(report, name, is_primary=False)
        return
    _sample(report)
    _code(report, name)


def _downloads(report: VerificationReport, name: str, *, is_primary: bool) -> None:
    packed = bundle.pack_name(name)
    with st.container(horizontal=True, key="downloads"):
        st.download_button(
            "Download the bundle",
            lambda: _packed(report, name),
            packed,
            "application/zip",
            on_click="ignore",
            type="primary" if is_primary else "secondary",
            icon=ICON,
            help="A zip: the file, its labels, code for Kotlin, Swift and Python, a picture with "
            "the expected answer, the report, and a program that checks the file's digest and its "
            "answer to the picture.",
        )
        st.download_button(
            markdown(f"Only {name}"),
            lambda: _content(report),
            name,
            "application/octet-stream",
            on_click="ignore",
            icon=ICON,
        )
        st.download_button(
            "Report as JSON",
            report.to_json,
            f"{name}.verification.json",
            "application/json",
            on_click="ignore",
            icon=ICON,
        )


def _packed(report: VerificationReport, name: str) -> bytes:
    with export_service().files(report) as (file, sample):
        return bundle.pack(report, name, file, sample)


def _content(report: VerificationReport) -> bytes:
    with export_service().files(report) as (file, _):
        return file.read_bytes()


def _sample(report: VerificationReport) -> None:
    if report.sample is None:
        return
    st.subheader("One picture, and its answer", anchor=False)
    picture, said = st.columns([1, 4], vertical_alignment="center")
    content = export_service().picture(report)
    if content is not None:
        picture.image(
            content,
            caption="sample.png, as the model sees it",
            width=128,
            alt="The picture that the answers beside it are about",
        )
    lines = (
        Markdown("1. {}, {}").format(guess.label, wording.percent(guess.share))
        for guess in report.sample.guesses
    )
    said.markdown(markdown(Markdown("\n").join(lines)))


def _code(report: VerificationReport, name: str) -> None:
    st.subheader("Code that runs it", anchor=False)
    snippets = bundle.snippets(report, name)
    tabs = st.tabs([bundle.LANGUAGES[language] for language in snippets])
    for tab, language in zip(tabs, snippets, strict=True):
        with tab:
            # Wrapped: a box that scrolls sideways could not be reached by keyboard.
            st.code(snippets[language], language=language, wrap_lines=True)
