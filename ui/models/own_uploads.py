"""The visitor's own uploads: what each is, how long it stays, and what may be done with it."""

import time

import streamlit as st

from quantcore import uploads, wording
from quantcore.draw import titles
from quantcore.schema import ModelSpec
from quantcore.uploads import Upload
from ui.common import folds, fragments, owned_uploads, progress, site, state
from ui.common.markdown import Markdown
from ui.models import catalogue, pictures

EMPTY = fragments.empty(
    "You have not uploaded anything yet",
    "Your own models, and images to evaluate them on, will be here, with how long they stay. Only "
    "you see them.",
)
DELETE_SENTENCE = (
    "This removes the file and all that was made from it, its comparisons included. It cannot be "
    "undone."
)


def draw() -> None:
    """Draw every upload of the visitor, or what will be here."""
    own = owned_uploads.mine()
    if not own:
        st.html(EMPTY)
        st.button(
            "Upload a file",
            type="primary",
            icon=":material/upload:",
            on_click=catalogue.go_to,
            args=["bring"],
        )
        return
    for upload in own:
        _row(upload)


def _row(upload: Upload) -> None:
    with st.container(
        border=True, key=f"upload-{upload.token}", horizontal=True, vertical_alignment="center"
    ):
        with st.container(gap=None, width="stretch"):
            st.markdown(Markdown("**{}**").format(uploads.title(upload)))
            st.html(fragments.render("job.html", facts=facts(upload), standing="", state=""))
        with st.container(horizontal=True, gap="small", width="content"):
            if st.button("Compare", key=f"compare-{upload.token}", type="primary"):
                st.switch_page(site.COMPARE, query_params=_address(upload))
            st.button(
                "Edit",
                key=f"edit-{upload.token}",
                on_click=catalogue.go_to,
                args=["bring", upload.token],
            )
            _delete(upload)


def facts(upload: Upload) -> str:
    """Return the kind, size and expiry of an upload."""
    left = upload.expires_s - time.time()
    parts = [
        upload.filename,
        what(upload),
        f"a file of {wording.megabytes(upload.size_bytes)}",
        f"expires {wording.until(left)}",
    ]
    return ", ".join(parts)


def what(upload: Upload) -> str:
    """Return in a few words what an upload was found to be."""
    if upload.images is not None:
        return pictures.recognised(upload.images)
    if upload.model is None:
        return "not inspected yet"
    classes = wording.count(upload.model.classes, "class", "classes")
    if upload.model.architecture is None:
        kind = "an ONNX model" if upload.model.form == "onnx" else "a program"
        return f"{kind} with {classes}"
    return f"{titles.model(ModelSpec(upload.model.architecture))} with {classes}"


def _address(upload: Upload) -> dict[str, str]:
    """Return the query parameters of the Compare page that choose this upload."""
    if upload.images is not None:
        return {state.IMAGES: upload.name, **state.target_address()}
    return {"model": upload.name, **state.target_address()}


def _delete(upload: Upload) -> None:
    if folds.unfold("Delete", f"delete-fold-{upload.token}", "Keep it"):
        st.markdown(DELETE_SENTENCE)
        st.button(
            "Delete it",
            key=f"delete-{upload.token}",
            type="primary",
            on_click=_delete_now,
            args=[upload.token],
        )


def _delete_now(token: str) -> None:
    progress.guarded(lambda: state.service().delete_upload(token))
