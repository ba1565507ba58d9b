"""`/compare`: the pages of raters, an application of its own.

A link with the invite's token leads to a page that says what is asked for. Who begins gets a signed
cookie for this one comparison, and goes on at an address without the token. Each page asks the
store whether the invite still holds. No page says which release an answer is of: neither in what it
shows nor in its headers.
"""

import time
from typing import Annotated, Any

from fastapi import FastAPI, Form, Path, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from starlette.exceptions import HTTPException

from gateway.console.guarding import Said, guard
from gateway.console.parts import Parts
from gateway.rating.desk import Desk, NoSuchPlace, Sheet
from gateway.store.comparisons import Comparison, Comparisons
from gateway.store.database import StoreError
from gateway.store.raters import ComparisonClosed, Invite, Raters

BASE = "/compare"
_COOKIE, _PURPOSE = "driftgate_rater", "rater"
_Token = Annotated[str, Path(min_length=20, max_length=100)]
_Id = Annotated[str, Path(max_length=40)]


class Refused(Exception):
    """A rater does not get in; says why."""

    def __init__(self, status: int, title: str, why: str) -> None:
        super().__init__(why)
        self.status, self.title, self.why = status, title, why


def create_rating(parts: Parts) -> FastAPI:
    """Return the pages of raters."""
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    desk, comparisons, raters = (
        Desk(parts.database), Comparisons(parts.database), Raters(parts.database),
    )  # fmt: skip

    def of(invite: Invite | None) -> tuple[Invite, Comparison]:
        """Return an invite that holds, and what it opens."""
        if invite is None:
            raise Refused(
                404, "This link is not known", "Copy the whole link, or ask for a new one."
            )
        comparison = comparisons.get(invite.comparison)
        if comparison is None:
            raise Refused(404, "There is no such comparison", "Ask who has invited you.")
        if invite.revoked_at is not None:
            raise Refused(
                410, "This invite was withdrawn", "Ask who has invited you for a new one."
            )
        if not invite.is_open(time.time()):
            raise Refused(410, "This invite is over", "It was for a time. Ask for a new one.")
        if comparison.closed_at is not None:
            raise Refused(
                410, "This comparison is over", "It takes no more votes. Thank you for your help."
            )
        return invite, comparison

    def rater(request: Request, id: str) -> tuple[Invite, Comparison]:
        """Return who rates, by the cookie of this comparison."""
        sealed = request.cookies.get(_COOKIE, "")
        if parts.sealer.read_text(_PURPOSE, sealed) != id:
            raise Refused(
                401, "Open your link again", "This browser has not begun, or its cookie is gone."
            )
        return of(raters.get(id))

    @app.get("/{token}")
    def begin_page(request: Request, token: _Token) -> Response:
        invite, comparison = of(raters.by_token(token))
        return show(request, "rater_begin.html", comparison=comparison, name=invite.name)

    @app.post("/{token}")
    def begin(request: Request, token: _Token) -> Response:
        invite, _ = of(raters.by_token(token))
        raters.begin(invite)
        answer = RedirectResponse(f"{BASE}/at/{invite.id}", 303)
        is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(
            _COOKIE,
            parts.sealer.seal(_PURPOSE, invite.id),
            max_age=max(1, int(invite.expires_at - time.time())),
            path=f"{BASE}/at/{invite.id}",
            httponly=True,
            samesite="lax",
            secure=is_secure,
        )
        return answer

    @app.get("/at/{invite_id}")
    def item(
        request: Request, invite_id: _Id, again: Annotated[int | None, Query(ge=0)] = None
    ) -> Response:
        invite, comparison = rater(request, invite_id)
        sheet = desk.look(comparison, invite, again)
        template = "rater_item.html" if isinstance(sheet, Sheet) else "rater_done.html"
        where = f"{BASE}/at/{invite.id}"
        return show(request, template, comparison=comparison, sheet=sheet, where=where)

    @app.post("/at/{invite_id}/vote")
    async def vote(request: Request, invite_id: _Id) -> Response:
        form = {
            name: value
            for name, value in (await request.form(max_fields=40)).items()
            if isinstance(value, str)
        }
        return await run_in_threadpool(take, request, invite_id, form)

    def take(request: Request, invite_id: str, form: dict[str, str]) -> Response:
        invite, comparison = rater(request, invite_id)
        if not form.get("choice"):
            raise Refused(422, "Nothing was chosen", "Go back and say which answer is better.")
        criteria = {
            name: form[f"criterion-{number}"]
            for number, name in enumerate(comparison.criteria)
            if form.get(f"criterion-{number}")
        }
        desk.say(
            comparison, invite, _number(form.get("place")), form["choice"], criteria,
            form.get("note", ""),
        )  # fmt: skip
        return RedirectResponse(f"{BASE}/at/{invite.id}", 303)

    @app.post("/at/{invite_id}/undo")
    def undo(request: Request, invite_id: _Id, place: Annotated[str, Form()] = "") -> Response:
        invite, comparison = rater(request, invite_id)
        again = _number(place)
        desk.take_back(comparison, invite, again)
        return RedirectResponse(f"{BASE}/at/{invite.id}?again={again}", 303)

    def show(request: Request, template: str, status: int = 200, **said: Any) -> Response:
        return parts.pages.show(request, None, template, status, **said)

    def said(request: Request, status: int, title: str, why: str) -> Response:
        return show(request, "rater_said.html", status, title=title, why=why)

    guard(app, said, {"x-robots-tag": "noindex"})
    _tell(app, said)
    return app


def _tell(app: FastAPI, said: Said) -> None:
    """Give every error a page."""

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        return said(request, error.status, error.title, error.why)

    @app.exception_handler(ComparisonClosed)
    def closed(request: Request, _: ComparisonClosed) -> Response:
        why = "It was closed before your last vote came. Thank you for your help."
        return said(request, 410, "This comparison is over", why)

    @app.exception_handler(NoSuchPlace)
    def no_such_place(request: Request, _: NoSuchPlace) -> Response:
        why = "Go back, load the page again, and repeat it."
        return said(request, 422, "That cannot be read", why)

    @app.exception_handler(StoreError)
    def store_error(request: Request, _: StoreError) -> Response:
        why = "What you have said so far is safe. Go back and try again in a moment."
        return said(request, 503, "The store is away", why)

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, _: RequestValidationError) -> Response:
        return said(request, 404, "There is no such page", "Open the link of your invite again.")

    @app.exception_handler(HTTPException)
    def http_error(request: Request, error: HTTPException) -> Response:
        if error.status_code == 413:
            return said(request, 413, "That is too long", "Go back and shorten your note.")
        return said(
            request, error.status_code, "There is no such page",
            "Open the link of your invite again.",
        )  # fmt: skip


def _number(text: str | None) -> int:
    """Return a place as a form has it."""
    if text is None or not text.isascii() or not text.isdigit() or len(text) > 9:
        raise NoSuchPlace("a place is a number")
    return int(text)
