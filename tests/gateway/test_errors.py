"""One JSON shape for every error of every route; mistakes are never a 500."""

import json
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.generation import GenerationMode

from gateway.store.keys import Keys
from tests.gateway.running import RunningGateway, wait

_ROUTES = [
    ("POST", "/v1/chat/completions"),
    ("POST", "/v1/completions"),
    ("POST", "/v1/responses"),
    ("POST", "/v1/feedback"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/production"),
    ("GET", "/v1/chat/completions"),
    ("GET", "/v1/chat/completions/x"),
    ("GET", "/v1/chat/completions/x/messages"),
    ("POST", "/v1/chat/completions/x"),
    ("DELETE", "/v1/chat/completions/x"),
    ("POST", "/v1/files"),
    ("GET", "/v1/files"),
    ("GET", "/v1/files/x"),
    ("GET", "/v1/files/x/content"),
    ("DELETE", "/v1/files/x"),
    ("POST", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs"),
    ("GET", "/v1/fine_tuning/jobs/x"),
    ("POST", "/v1/fine_tuning/jobs/x/cancel"),
    ("POST", "/v1/fine_tuning/jobs/x/pause"),
    ("POST", "/v1/fine_tuning/jobs/x/resume"),
    ("GET", "/v1/fine_tuning/jobs/x/events"),
    ("GET", "/v1/fine_tuning/jobs/x/checkpoints"),
    ("POST", "/v1/vector_stores"),
    ("GET", "/v1/vector_stores"),
    ("GET", "/v1/vector_stores/x"),
    ("POST", "/v1/vector_stores/x"),
    ("DELETE", "/v1/vector_stores/x"),
    ("POST", "/v1/vector_stores/x/search"),
    ("POST", "/v1/vector_stores/x/files"),
    ("GET", "/v1/vector_stores/x/files"),
    ("GET", "/v1/vector_stores/x/files/y"),
    ("POST", "/v1/vector_stores/x/files/y"),
    ("DELETE", "/v1/vector_stores/x/files/y"),
    ("GET", "/v1/vector_stores/x/files/y/content"),
    ("POST", "/v1/vector_stores/x/file_batches"),
    ("GET", "/v1/vector_stores/x/file_batches/z"),
    ("POST", "/v1/vector_stores/x/file_batches/z/cancel"),
    ("GET", "/v1/vector_stores/x/file_batches/z/files"),
    ("GET", "/v1/aliases"),
    ("GET", "/v1/aliases/x"),
    ("POST", "/v1/aliases/x/rollback"),
    ("POST", "/v1/aliases/x/retrain"),
    ("POST", "/v1/rollouts"),
    ("GET", "/v1/rollouts"),
    ("GET", "/v1/rollouts/x"),
    ("POST", "/v1/rollouts/x/pause"),
    ("POST", "/v1/rollouts/x/resume"),
    ("POST", "/v1/rollouts/x/approve"),
    ("POST", "/v1/rollouts/x/abort"),
    ("GET", "/v1/retraining"),
    ("GET", "/v1/retraining/x"),
    ("GET", "/v1/comparisons"),
    ("POST", "/v1/comparisons"),
    ("GET", "/v1/comparisons/x"),
    ("GET", "/v1/comparisons/x/export"),
    ("POST", "/v1/comparisons/x/close"),
    ("POST", "/v1/comparisons/x/invites"),
    ("POST", "/v1/comparisons/x/invites/y/revoke"),
]
_BODILESS = ("/jobs/x/", "/cancel", "/rollouts/x/", "/close", "/revoke")
_WITH_BODY = [r for r in _ROUTES if r[0] == "POST" and not any(b in r[1] for b in _BODILESS)]


def _documented(path: str) -> str:
    """Return the path as the OpenAPI document spells it."""
    noun = {
        "chat": "completion_id", "files": "file_id", "fine_tuning": "fine_tuning_job_id",
        "vector_stores": "vector_store_id", "aliases": "alias", "rollouts": "rollout_id",
        "retraining": "request_id", "comparisons": "comparison_id",
    }  # fmt: skip
    name = noun.get(path.split("/")[2], "")
    path = path.replace("/x", f"/{{{name}}}").replace("models/production", "models/{model}")
    path = path.replace("invites/y", "invites/{invite_id}")
    return path.replace("/y", "/{file_id}").replace("/z", "/{batch_id}")


def _is_error(answer: httpx.Response, status: int, code: str | None = None) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error.keys() == {"message", "type", "param", "code"}
    assert error["message"]
    assert error["type"]
    if code is not None:
        assert error["code"] == code


def test_the_routes_here_are_the_documented_ones(gateway: RunningGateway) -> None:
    document = httpx.get(f"{gateway.url}/openapi.json").json()
    shown = {(m.upper(), p) for p, found in document["paths"].items() for m in found}
    free = {("GET", "/health/live"), ("GET", "/health/ready"), ("GET", "/metrics")}
    assert {(m, _documented(p)) for m, p in _ROUTES} == shown - free


@pytest.mark.parametrize(("method", "path"), _ROUTES)
@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer x", "Basic eA==", "Bearer dg-00000000-" + "A" * 43, "Bearer \xff"],
)
def test_no_or_a_wrong_key_is_401(
    gateway: RunningGateway, method: str, path: str, authorization: str | None
) -> None:
    given = None if authorization is None else authorization.encode("latin-1")
    headers = [] if given is None else [(b"authorization", given)]
    answer = httpx.request(method, gateway.url + path, headers=headers, json={})
    _is_error(answer, 401)
    assert answer.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize(("method", "path"), _ROUTES)
def test_a_key_without_the_scope_is_403(gateway: RunningGateway, method: str, path: str) -> None:
    needed = {"/v1/feedback": "feedback"}.get(path, "admin" if "chat/completions/" in path else "")
    if (method, path) == ("GET", "/v1/chat/completions"):
        needed = "admin"
    if path.startswith(("/v1/files", "/v1/fine_tuning")):
        needed = "training"
    if path.startswith(("/v1/aliases", "/v1/rollouts", "/v1/retraining")):
        needed = "admin"
    other = {"admin": "inference", "feedback": "admin"}.get(needed, "feedback")
    _, text = Keys(gateway.database).create("narrow", [other])
    with gateway.client(text) as client:
        wait(lambda: client.request(method, path, json={}).status_code != 401)
        _is_error(client.request(method, path, json={}), 403, "insufficient_scope")


def test_a_revoked_key_is_refused_within_a_second(gateway: RunningGateway) -> None:
    key, text = Keys(gateway.database).create("short", ["inference"])
    with gateway.client(text) as client:
        wait(lambda: client.get("/v1/models").status_code == 200, 1)
        Keys(gateway.database).revoke(key.prefix)
        wait(lambda: client.get("/v1/models").status_code == 401, 1)


@pytest.mark.parametrize(("method", "path"), _WITH_BODY)
@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff\xfe", b"null", b"[" * 19_000, b'"x"'])
def test_what_is_not_a_json_object_is_400(
    gateway: RunningGateway, method: str, path: str, body: bytes
) -> None:
    with gateway.client() as client:
        headers = {"content-type": "application/json"}
        _is_error(client.request(method, path, content=body, headers=headers), 400)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses"])
def test_an_unknown_model_is_404_with_those_that_exist(gateway: RunningGateway, path: str) -> None:
    answer = gateway.post(path, model="nope\u0000\U0001f600", prompt="x", input="x")
    _is_error(answer, 404, "model_not_found")
    assert answer.json()["error"]["param"] == "model"
    assert "`production`" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing", 404, "route_not_found"),
        ("GET", "/v1/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/responses", 405, "method_not_allowed"),
        ("PUT", "/v1/chat/completions", 405, "method_not_allowed"),
        ("DELETE", "/v1/models", 405, "method_not_allowed"),
        ("GET", "/v1/models/nope", 404, "model_not_found"),
        ("GET", "/v1/chat/completions/nope", 404, "completion_not_found"),
        ("DELETE", "/v1/chat/completions/nope", 404, "completion_not_found"),
        ("GET", "/v1/files/nope", 404, "file_not_found"),
        ("GET", "/v1/files/%00", 400, "invalid_type"),
        ("GET", "/v1/files?limit=0", 400, "invalid_type"),
        ("DELETE", "/v1/files", 405, "method_not_allowed"),
        ("GET", "/v1/fine_tuning/jobs/nope", 404, "job_not_found"),
        ("POST", "/v1/fine_tuning/jobs/nope/cancel", 404, "job_not_found"),
        ("GET", "/v1/fine_tuning/jobs?after=nope", 400, "invalid_cursor"),
        ("GET", "/v1/aliases/nope", 404, "alias_not_found"),
        ("GET", "/v1/rollouts/nope", 404, "rollout_not_found"),
        ("POST", "/v1/rollouts/nope/approve", 404, "rollout_not_found"),
        ("GET", "/v1/rollouts?after=nope", 400, "invalid_cursor"),
        ("GET", "/v1/retraining/nope", 404, "request_not_found"),
        ("GET", "/v1/retraining?after=nope", 400, "invalid_cursor"),
        ("GET", "/v1/retraining?status=lost", 400, "invalid_type"),
        ("GET", "/v1/chat/completions?after=nope", 400, "invalid_cursor"),
        ("GET", "/v1/chat/completions?limit=0", 400, "invalid_type"),
        ("GET", "/v1/chat/completions?order=up", 400, "invalid_type"),
        ("GET", "/v1/chat/completions?model=%00", 400, "invalid_type"),
        ("GET", "/v1/chat/completions?metadata[a]=%00", 400, "invalid_type"),
    ],
)
def test_other_mistakes(
    gateway: RunningGateway, method: str, path: str, status: int, code: str
) -> None:
    with gateway.client() as client:
        _is_error(client.request(method, path), status, code)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "completion_id"),
        ({"completion_id": "x"}, None),
        ({"completion_id": "x", "score": 2}, "score"),
        ({"completion_id": "x", "score": "good"}, "score"),
        ({"completion_id": "x", "correction": ""}, "correction"),
        ({"completion_id": "x", "score": 1, "surprise": 1}, "surprise"),
        ({"completion_id": "x" * 999, "score": 1}, "completion_id"),
    ],
)
def test_feedback_that_makes_no_sense(
    gateway: RunningGateway, fields: dict[str, Any], param: str | None
) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/feedback", json=fields)
    _is_error(answer, 400)
    assert answer.json()["error"]["param"] == param


def test_feedback_on_another_keys_completion_is_404(gateway: RunningGateway) -> None:
    completion = gateway.post().json()["id"]
    _, text = Keys(gateway.database).create("other", ["feedback"])
    with gateway.client(text) as client:
        body = {"completion_id": completion, "score": 1}
        wait(lambda: client.post("/v1/feedback", json=body).status_code != 401)
        _is_error(client.post("/v1/feedback", json=body), 404, "completion_not_found")
    with gateway.client() as client:
        assert client.post("/v1/feedback", json=body).status_code == 201


_BODY = {"model": "production", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [None]},
        {"messages": [[]]},
        {"messages": [{"role": [], "content": {}}]},
        {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
        {"max_tokens": 1e400},
        {"max_tokens": -(2**70)},
        {"n": 2**63},
        {"stop": {}},
        {"stream": 1},
        {"stream_options": []},
        {"stream": True, "stream_options": {"include_usage": "yes"}},
        {"metadata": []},
        {"metadata": {"k": "v" * 600}},
        {"metadata": {str(i): "" for i in range(17)}},
        {"store": "no"},
        {"response_format": 7},
        {"tools": "hammer"},
        {"logprobs": {}},
    ],
)
def test_nasty_requests(gateway: RunningGateway, fields: dict[str, Any]) -> None:
    body = json.dumps({**_BODY, **fields}).encode()
    headers = {"content-type": "application/json"}
    with gateway.client() as client:
        answer = client.post("/v1/chat/completions", content=body, headers=headers)
    assert answer.status_code in (200, 400), answer.text
    if answer.status_code == 400:
        _is_error(answer, 400)


@pytest.mark.slow  # 20 s: not part of `make check`
@pytest.mark.filterwarnings("ignore")
def test_malformed_requests_from_the_openapi_document(gateway: RunningGateway) -> None:
    """At least 200 requests that break the document on purpose; none is answered with a 5xx."""
    schema = schemathesis.openapi.from_url(f"{gateway.url}/openapi.json")
    statuses: list[int] = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if not (operation.body or operation.path_parameters or operation.query):
            continue  # nothing in it can be malformed

        @settings(
            max_examples=25,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
        def run(case: schemathesis.Case) -> None:
            answer = case.call(headers={"authorization": f"Bearer {gateway.key}"}, timeout=10)
            statuses.append(answer.status_code)
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            if answer.status_code >= 400:
                assert json.loads(answer.content)["error"]["message"]

        run()
    assert len(statuses) >= 200
    assert sum(status >= 400 for status in statuses) > 100
