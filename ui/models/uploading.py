"""Upload a file: received in pieces, inspected, then described or refused with a reason."""

from collections.abc import Iterator
from dataclasses import replace
from typing import IO

import streamlit as st
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx
from streamlit.runtime.uploaded_file_manager import UploadedFile, UploadedFileRec

from quantcore import wording
from quantcore.errors import QuantcoreError
from quantcore.untrusted import Inspections, InspectionView
from quantcore.uploads import Upload, Uploads
from ui.common import progress, state, visitor
from ui.common.markdown import Markdown, markdown, reason_and_remedy
from ui.models import catalogue, describing, pictures

REFRESH_S = 0.5
PIECE_BYTES = 2**20
UPLOAD_COUNT = "upload_count"
MODEL_SENTENCE = (
    "Its state dict (`.pt`, `.pth`, `.bin` or `.safetensors`) for an architecture of torchvision, "
    "a TorchScript or exported program (`.pt`, `.pt2`), or an ONNX model (`.onnx`), float or "
    "quantized already. The content decides, not the ending."
)
IMAGES_SENTENCE = (
    "A zip with a folder for each class, or with `labels.csv`, for accuracy; or of loose pictures, "
    "for agreement with float32."
)
PRIVATE = "Only you see it. It expires after {days}, or is gone at once when you delete it."
GONE = (
    "This upload is not here: it was deleted, it expired, or it is somebody else's. "
    "Upload the file again."
)
UNREAD = Markdown(
    "**{name} was not inspected yet.** The server was started again before that. "
    "The file is still here."
)


def _sharing(self: UploadedFile, _: object) -> UploadedFile:
    """Return a copy of the file that shares its bytes, which never change."""
    record = UploadedFileRec(self.file_id, self.name, self.type, self.getvalue())
    return UploadedFile(record, self._file_urls)


# Streamlit copies what a field holds for every run of the page, a large file with all its bytes.
UploadedFile.__deepcopy__ = _sharing  # type: ignore[attr-defined]


def uploads() -> Uploads:
    """Return the uploads of this server."""
    return state.service().uploads


def inspections() -> Inspections:
    """Return the inspections of this server."""
    return state.service().inspections


def draw() -> None:
    """Draw the fields for uploads, or the upload that the address names."""
    token = st.session_state.get(catalogue.UPLOAD)
    if not token:
        _ask()
        return
    view = _view(str(token))
    if view is None:
        _without_view(str(token))
    elif view.is_open:
        st.fragment(follow, run_every=REFRESH_S)(str(token))
    else:
        _ENDS[view.state](view)


def _without_view(token: str) -> None:
    """Draw an upload that this process has not inspected: another one did, or none yet."""
    try:
        upload = uploads().get(token, visitor.current().owner)
    except QuantcoreError:
        st.warning(GONE)
        _offer_another()
        return
    if upload.model is None and upload.images is None:
        _offer_look(upload)
    else:
        _done(InspectionView(upload, state="done", share=1.0))


def _ask() -> None:
    """Draw the fields for a model and for pictures, side by side."""
    model, images = st.columns(2, gap="medium")
    with model, st.container(border=True, key="upload-model", height="stretch"):
        st.subheader("A model", anchor=False)
        st.caption(MODEL_SENTENCE)
        _field("Upload a model", "model")
        if refused := inspections().programs_refused():
            st.info(markdown(refused))
    with images, st.container(border=True, key="upload-images", height="stretch"):
        st.subheader("Images", anchor=False)
        st.caption(IMAGES_SENTENCE)
        _field("Upload images", "images")
    days = wording.count(round(state.settings().upload_days), "day")
    st.caption(markdown(PRIVATE.format(days=days)))


def _field(label: str, kind: str) -> None:
    """Draw a field for one file; take in what is dropped there."""
    # Its memory is freed once it is received, so each file gets a field of its own.
    number = st.session_state.setdefault(UPLOAD_COUNT, 0)
    limit = max(1, int(state.settings().upload_mb))
    file = st.file_uploader(label, key=f"upload-{kind}-{number}", max_upload_size=limit)
    if file is None:
        return
    st.session_state[UPLOAD_COUNT] = number + 1
    with st.spinner("Saving the file …"):
        progress.guarded(lambda: _receive(file.name, file))
    _let_go(file.file_id)
    st.rerun()


def _receive(filename: str, file: IO[bytes]) -> None:
    upload = uploads().receive(filename, _pieces(file), owner=visitor.current().owner)
    try:
        inspections().start(upload)
    except QuantcoreError:
        uploads().delete(upload.token)
        raise
    st.session_state[catalogue.UPLOAD] = upload.token


def _pieces(file: IO[bytes]) -> Iterator[bytes]:
    while piece := file.read(PIECE_BYTES):
        yield piece


def _let_go(file_id: str) -> None:
    """Free the memory in which Streamlit would keep the file for as long as the page is open."""
    context = get_script_run_ctx()
    if context is not None and isinstance(context.uploaded_file_mgr, MemoryUploadedFileManager):
        context.uploaded_file_mgr.remove_file(context.session_id, file_id)


def _view(token: str) -> InspectionView | None:
    """Return how far this process's look at the visitor's own upload is; None without one."""
    view, owner = inspections().view(token), visitor.current().owner
    if view is None or view.upload.owner != owner:
        return None
    if view.state != "done":
        return view
    try:
        # What its owner changed since stands in the record.
        return replace(view, upload=uploads().get(token, owner))
    except QuantcoreError:
        return None


def follow(token: str) -> None:
    """Draw how far the look is, again and again; its end draws the page once more."""
    view = _view(token)
    if view is None or not view.is_open or progress.REFUSAL in st.session_state:
        st.rerun()
    with st.container(border=True, key="busy"):
        text, button = st.columns([5, 1], vertical_alignment="center")
        sentence = reason_and_remedy(f"Looking at {view.upload.filename}.", view.stage)
        text.progress(min(max(view.share, 0.0), 1.0), markdown(sentence))
        with button:
            st.button("Cancel", on_click=_cancel, args=[token], width="stretch", key="cancel")


def _cancel(token: str) -> None:
    progress.guarded(lambda: inspections().cancel(token))


def _done(view: InspectionView) -> None:
    upload = view.upload
    if upload.model is not None:
        describing.draw(upload, view.candidates)
    elif upload.images is not None:
        pictures.draw(upload, view.thumbnails)
    _offer_another()


def _failed(view: InspectionView) -> None:
    problem = view.problem
    reason = problem.reason if problem else "It could not be inspected."
    remedy = problem.remedy if problem else "Upload it again."
    # Lines after the first are a program to copy.
    says, _, program = remedy.partition("\n")
    st.error(reason_and_remedy(f"{view.upload.filename} was not accepted.", f"{reason} {says}"))
    if program:
        st.code(program, language="python")
    _offer_another(primary=True)


def _cancelled(view: InspectionView) -> None:
    st.info(reason_and_remedy("Stopped.", f"Nothing of {view.upload.filename} was kept."))
    _offer_another(primary=True)


def _offer_another(*, primary: bool = False) -> None:
    st.button(
        "Upload another file",
        type="primary" if primary else "secondary",
        icon=":material/upload:",
        on_click=catalogue.go_to,
        args=["bring"],
        key="another",
    )


def _offer_look(upload: Upload) -> None:
    """Say that a file was not inspected yet, and offer to do so."""
    st.info(markdown(UNREAD.format(name=upload.filename)))
    with st.container(horizontal=True):
        st.button(
            "Look at it",
            type="primary",
            key="look",
            on_click=lambda: progress.guarded(lambda: inspections().start(upload)),
        )
        st.button("Delete it", key="delete-unread", on_click=_delete, args=[upload.token])


def _delete(token: str) -> None:
    progress.guarded(lambda: state.service().delete_upload(token))
    catalogue.go_to("bring")


_ENDS = {"done": _done, "failed": _failed, "cancelled": _cancelled}
