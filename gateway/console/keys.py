"""Keys and budgets: who may ask, how much each has used; make, limit, revoke."""

import time
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response

from gateway.console import drawing
from gateway.console.access import Changing, Looking
from gateway.console.parts import Parts
from gateway.errors import Conflict, InvalidRequest, NotFound
from gateway.store.keys import SCOPES, ApiKey, KeyLimits, Keys
from gateway.store.overview import Overview

_DAY_S = 86_400.0
_LONGEST_NAME = 200
LIMITS = {
    "requests_per_minute": "requests a minute",
    "tokens_per_minute": "tokens a minute",
    "max_concurrency": "requests at once",
    "tokens_per_day": "tokens a day",
    "tokens_per_month": "tokens a month",
}
SAID = {
    "inference": "ask for answers",
    "feedback": "say how good they were",
    "training": "upload files, train",
    "view": "look at this console",
    "admin": "everything",
}
_Limit = Annotated[str, Form(max_length=20)]


def router(parts: Parts) -> APIRouter:
    """Return the routes of keys."""
    pages = APIRouter(prefix="/keys")
    keys, overview = Keys(parts.database), Overview(parts.database)

    def known(prefix: str) -> ApiKey:
        found = next((key for key in keys.all() if key.prefix == prefix), None)
        if found is None:
            raise NotFound(f"There is no key `{prefix}`.")
        return found

    @pages.get("")
    def listing(request: Request, viewer: Looking) -> Response:
        now = time.time()
        every = keys.all()
        budgets = {
            (b.key, b.budget): (b, drawing.meter_of(b.used, b.limit, f"{b.budget} of {b.name}"))
            for b in overview.budgets(now)
        }
        return parts.pages.show(
            request,
            viewer,
            "keys.html",
            live=[key for key in every if key.revoked_at is None],
            revoked=[key for key in reversed(every) if key.revoked_at is not None][:50],
            use={each.key: each for each in overview.key_use(now - _DAY_S, now)},
            budgets=budgets,
            limits=LIMITS,
            scopes=sorted(SCOPES),
            said=SAID,
        )

    @pages.post("")
    def create(
        request: Request,
        viewer: Changing,
        name: Annotated[str, Form(max_length=_LONGEST_NAME)],
        scopes: Annotated[list[str], Form()],
        requests_per_minute: _Limit = "",
        tokens_per_minute: _Limit = "",
        max_concurrency: _Limit = "",
        tokens_per_day: _Limit = "",
        tokens_per_month: _Limit = "",
    ) -> Response:
        called = name.strip()
        if not called or not called.isprintable():
            raise InvalidRequest("name: say what the key is for, in printable characters.")
        # A form that is sent twice must not leave a second key that nobody has noted.
        if any(key.name == called and key.revoked_at is None for key in keys.all()):
            raise Conflict(
                f"A key called `{called}` is there already; its text was shown when it was made. "
                "Choose another name, or revoke that one."
            )
        limits = _limits(
            requests_per_minute, tokens_per_minute, max_concurrency, tokens_per_day,
            tokens_per_month,
        )  # fmt: skip
        try:
            key, text = keys.create(called, scopes, limits)
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        return parts.pages.show(request, viewer, "key_made.html", key=key, text=text)

    @pages.get("/{prefix}")
    def one(request: Request, viewer: Looking, prefix: str) -> Response:
        key = known(prefix)
        return parts.pages.show(
            request, viewer, "key.html", key=key, limits=LIMITS, is_own=prefix == viewer.key
        )

    @pages.post("/{prefix}/limits")
    def limit(
        viewer: Changing,
        prefix: str,
        requests_per_minute: _Limit = "",
        tokens_per_minute: _Limit = "",
        max_concurrency: _Limit = "",
        tokens_per_day: _Limit = "",
        tokens_per_month: _Limit = "",
    ) -> Response:
        limits = _limits(
            requests_per_minute, tokens_per_minute, max_concurrency, tokens_per_day,
            tokens_per_month,
        )  # fmt: skip
        if known(prefix).revoked_at is not None:
            raise Conflict(f"The key {prefix} was revoked: limits mean nothing to it.")
        try:
            key = keys.limit(prefix, limits)
        except ValueError as error:
            raise InvalidRequest(str(error)) from None
        return parts.pages.told("/keys", f"The limits of {key.name} are changed.")

    @pages.post("/{prefix}/revoke")
    def revoke(viewer: Changing, prefix: str) -> Response:
        if known(prefix).revoked_at is not None:
            return parts.pages.told("/keys", f"{prefix} was revoked already.", "no")
        if prefix == viewer.key:
            raise Conflict(
                "This is the key that you are logged in with. Log in with another to revoke it."
            )
        key = keys.revoke(prefix)
        return parts.pages.told("/keys", f"{key.name} ({prefix}) is revoked for good.")

    return pages


def _limits(*texts: str) -> KeyLimits:
    values = {}
    for name, text in zip(LIMITS, texts, strict=True):
        plain = text.strip().replace(",", "").replace("_", "")
        if not plain:
            continue
        if not (plain.isascii() and plain.isdigit()):
            raise InvalidRequest(f"{LIMITS[name]}: {text!r} is no whole number.", param=name)
        values[name] = int(plain)
    return KeyLimits(**values)
