"""Logging in by an API key, and out."""

from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from gateway.console.access import COOKIE, MAY_LOOK, Posting, comes_from_elsewhere
from gateway.console.attempts import Attempts
from gateway.console.pages import BASE
from gateway.console.parts import Parts
from gateway.console.session import LASTS_S
from gateway.errors import AuthenticationFailed

_LONGEST_KEY = 200


def router(parts: Parts) -> APIRouter:
    """Return the routes of logging in and out."""
    pages = APIRouter()
    attempts = Attempts()

    def refused(request: Request, status: int, why: str) -> Response:
        return parts.pages.show(request, None, "login.html", status, why=why)

    def wrong(request: Request) -> Response:
        # Behind a proxy all people have one address: who fails must not keep others out.
        client = "" if request.client is None else request.client.host
        wait = attempts.wait_s(client)
        if wait:
            answer = refused(request, 429, f"Too many wrong keys. Try again in {wait} s.")
            answer.headers["retry-after"] = str(wait)
            return answer
        attempts.failed(client)
        return refused(
            request,
            401,
            "This key is not known, or it was revoked. A key has the form dg-…-… and is "
            "printed once, by `driftgate keys create`.",
        )

    @pages.get("/login")
    def form(request: Request) -> Response:
        return refused(request, 200, "")

    @pages.post("/login")
    def log_in(request: Request, key: Annotated[str, Form()] = "") -> Response:
        text = key.strip()
        try:
            principal = parts.keys.authenticate(f"Bearer {text}"[:_LONGEST_KEY].encode())
            prefix = principal.key_prefix
            if prefix is None:  # a gateway without keys lets everybody in, the console nobody
                raise AuthenticationFailed("The API key is not valid.")
        except AuthenticationFailed:
            return wrong(request)
        if not principal.scopes & MAY_LOOK:
            return refused(
                request, 403, "This key is valid but has neither the scope `view` nor `admin`."
            )
        sealed = parts.sealer.seal("session", parts.sealer.open_session(prefix))
        answer = parts.pages.told("/", f"Welcome. You are logged in with key {prefix}.")
        is_secure = "https" in (request.url.scheme, request.headers.get("x-forwarded-proto"))
        answer.set_cookie(
            COOKIE,
            sealed,
            max_age=int(LASTS_S),
            path=BASE,
            httponly=True,
            samesite="strict",
            secure=is_secure,
        )
        return answer

    @pages.post("/logout")
    def log_out(_: Posting) -> Response:
        answer = parts.pages.told("/login", "You are logged out.")
        answer.delete_cookie(COOKIE, path=BASE)
        return answer

    return pages


def ask_to_log_in(parts: Parts, request: Request) -> Response:
    """Return the way to the log-in page.

    A link on another site brings no cookie along (SameSite=Strict): such a request is sent once
    more, from here.
    """
    if request.method == "GET" and comes_from_elsewhere(request):
        return parts.pages.show(request, None, "again.html")
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={"hx-redirect": f"{BASE}/login"})
    if "cookie" in request.headers and COOKIE in request.cookies:
        return parts.pages.told("/login", "Your session is over. Log in again.", "no")
    return Response(status_code=303, headers={"location": f"{BASE}/login"})
