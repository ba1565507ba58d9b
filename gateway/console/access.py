"""Who may look at the console, and who may change what it shows."""

from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlsplit

from fastapi import Depends, Form, Request

from gateway.auth import KeyRing
from gateway.console.session import Sealer, Session
from gateway.errors import PermissionDenied

COOKIE = "driftgate_console"
FORM_HEADER = "x-driftgate-form"
MAY_LOOK, MAY_CHANGE = frozenset({"admin", "view"}), "admin"
_OWN = frozenset({"same-origin", "none"})


class NotLoggedIn(Exception):
    """There is no session, or it is over."""


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page.

    Attributes:
        key: Prefix of the API key.
        may_change: Whether it has the scope `admin`.
        form_token: What its forms carry.
    """

    key: str
    may_change: bool
    form_token: str

    @property
    def name(self) -> str:
        """How it is named in the store, as the API names it."""
        return f"key {self.key}"


def viewer_of(request: Request) -> Viewer:
    """Return who looks.

    Raises:
        NotLoggedIn: Nobody does, or the key was revoked or may not look any more.
    """
    return viewer(request.app.state.keys, request.app.state.sealer, _session(request))


def viewer(keys: KeyRing, sealer: Sealer, session: Session) -> Viewer:
    """Return who a session belongs to; NotLoggedIn where its key may not look any more."""
    principal = keys.named(session.key)
    if principal is None or not principal.scopes & MAY_LOOK:
        raise NotLoggedIn
    may_change = MAY_CHANGE in principal.scopes
    return Viewer(session.key, may_change, sealer.form_token(session))


def posting(request: Request, token: Annotated[str, Form(alias="csrf")] = "") -> Viewer:
    """Return who sends a form.

    Raises:
        NotLoggedIn: There is no session.
        PermissionDenied: The form is not of this session.
    """
    return _own(request, token)


def changing(known: Annotated[Viewer, Depends(posting)]) -> Viewer:
    """Return who changes something by a form; PermissionDenied where the key may only look."""
    if not known.may_change:
        raise PermissionDenied(
            "Your key may look and not change: this needs the scope `admin`.",
            code="insufficient_scope",
        )
    return known


def asking(request: Request) -> Viewer:
    """Return who asks by the page's own script, which sends the form's token as a header."""
    return _own(request, request.headers.get(FORM_HEADER, ""))


Looking = Annotated[Viewer, Depends(viewer_of)]
Posting = Annotated[Viewer, Depends(posting)]
Changing = Annotated[Viewer, Depends(changing)]
Asking = Annotated[Viewer, Depends(asking)]


def _session(request: Request) -> Session:
    sealer: Sealer = request.app.state.sealer
    session = sealer.read_session(request.cookies.get(COOKIE, ""))
    if session is None:
        raise NotLoggedIn
    return session


def _own(request: Request, token: str) -> Viewer:
    known = viewer_of(request)
    sealer: Sealer = request.app.state.sealer
    if not sealer.is_form_token(_session(request), token):
        raise PermissionDenied(
            "This form was made for another session. Go back, load the page again and repeat it.",
            code="form_of_another_session",
        )
    return known


def comes_from_elsewhere(request: Request) -> bool:
    """Return whether another site sent a request, as far as the browser says.

    Sec-Fetch-Site: https://www.w3.org/TR/fetch-metadata/; Origin for browsers without it.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        return site not in _OWN
    origin = request.headers.get("origin")
    return origin is not None and urlsplit(origin).netloc != request.headers.get("host", "")
