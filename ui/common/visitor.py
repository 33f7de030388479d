"""The visitor of a page: which comparisons are theirs, and the names of other owners."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass

import streamlit as st

from quantcore.engine import source_uploads
from quantcore.jobs import JobSummary
from quantcore.schema import JobView
from ui.common import state
from ui.common.server import COOKIE

GUEST = "guest"
YOU, ANOTHER = "you", "another visitor"


@dataclass(frozen=True)
class Visitor:
    """One visitor.

    Attributes:
        owner: what their comparisons are kept under.
        name: what others read; empty for who did not log in.
    """

    owner: str
    name: str = ""


def current() -> Visitor:
    """Return the visitor of this page: the user logged in, else the owner of the browser."""
    if is_logged_in():
        return _logged_in(st.user.to_dict())
    # A browser that takes no cookies is known until it is reloaded.
    browser = cookies().get(COOKIE) or st.session_state.setdefault(GUEST, secrets.token_urlsafe())
    return of_browser(browser)


def of_browser(secret: str) -> Visitor:
    """Return the visitor whose browser has this id."""
    # The list of comparisons shows owners, and must not reveal the secret that proves ownership.
    return Visitor(f"browser {hashlib.sha256(secret.encode()).hexdigest()}")


def cookies() -> Mapping[str, str]:
    """Return the cookies the browser sent."""
    return st.context.cookies


def _logged_in(claims: Mapping[str, object]) -> Visitor:
    """Return the visitor an identity provider vouches for; issuer and subject never change."""
    names = (claims.get(key) for key in ("name", "preferred_username", "email"))
    return Visitor(
        f"login {claims.get('iss')} {claims.get('sub')}",
        str(next(filter(None, names), "")),
    )


def must_log_in() -> bool:
    """Return whether this site is only for those who log in, and this visitor did not."""
    return "is_logged_in" in st.user and not st.user.is_logged_in


def is_logged_in() -> bool:
    """Return whether the visitor logged in."""
    return "is_logged_in" in st.user and st.user.is_logged_in


def owns(owner: str) -> bool:
    """Return whether a comparison of this owner is the visitor's own."""
    return owner == current().owner


def may_change(job: JobSummary | JobView) -> bool:
    """Return whether the visitor may cancel, retry, name or delete a comparison.

    One that uses an upload is its owner's alone, whatever is allowed with others.
    """
    is_shared = state.settings().shared_jobs == "open" and not _is_private(job)
    return is_shared or owns(job.owner)


def _is_private(job: JobSummary | JobView) -> bool:
    """Return whether a comparison uses an upload."""
    if isinstance(job, JobSummary):
        return job.private
    return any(source_uploads(each) for each in (job.comparison.request, *job.comparison.also))


def may_see(job: JobSummary) -> bool:
    """Return whether a comparison is listed for the visitor: of uploads, only their own.

    Whoever has its link may look all the same.
    """
    return not job.private or owns(job.owner)


def called(owner: str, asked_by: str) -> str:
    """Return the requester of a comparison, in words."""
    return YOU if owns(owner) else asked_by or ANOTHER
