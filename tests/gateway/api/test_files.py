"""`/v1/files` with the official client, and with forms that no client would send."""

import hashlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import openai
import pytest

from gateway.store.keys import Keys
from tests.gateway.running import RunningGateway, wait

ROW = {
    "messages": [
        {"role": "user", "content": "Grüße?"},
        {"role": "assistant", "content": "Hallo."},
    ]
}


def jsonl(*rows: Any) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


@pytest.fixture
def client(gateway: RunningGateway) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=gateway.key, max_retries=0) as made:
        yield made


@pytest.fixture
def tenant(gateway: RunningGateway) -> Iterator[Callable[[], openai.OpenAI]]:
    """Makes clients of further keys, which may train and nothing else."""
    made: list[openai.OpenAI] = []

    def make() -> openai.OpenAI:
        _, text = Keys(gateway.database).create("tenant", ["training"])
        client = openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=text, max_retries=0)
        made.append(client)

        def known() -> bool:
            try:
                client.files.list()
            except openai.AuthenticationError:
                return False
            return True

        wait(known)
        return client

    yield make
    for client in made:
        client.close()


def test_a_file_goes_up_and_comes_back(gateway: RunningGateway, client: openai.OpenAI) -> None:
    content = jsonl(*[ROW] * 1000)
    file = client.files.create(file=("../rows.jsonl", content), purpose="fine-tune")
    assert (file.bytes, file.filename, file.purpose) == (len(content), "rows.jsonl", "fine-tune")
    assert (file.object, file.status) == ("file", "processed")
    assert file.model_extra is not None
    assert file.model_extra["driftgate"]["rows"] == 1000
    assert file.model_extra["driftgate"]["sha256"] == hashlib.sha256(content).hexdigest()
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == content
    (kept,) = (path for path in (gateway.home / "files").iterdir() if path.name == file.id)
    assert kept.read_bytes() == content
    assert kept.stat().st_mode & 0o777 == 0o600
    assert client.files.delete(file.id).deleted
    assert not kept.exists()
    with pytest.raises(openai.NotFoundError, match=file.id):
        client.files.retrieve(file.id)
    with pytest.raises(openai.NotFoundError):
        client.files.delete(file.id)


def test_the_client_pages_through_files(client: openai.OpenAI, tenant: Any) -> None:
    own = tenant()
    made = [own.files.create(file=jsonl(ROW), purpose="fine-tune").id for _ in range(5)]
    made.append(own.files.create(file=b"anything", purpose="user_data").id)
    assert [file.id for file in own.files.list(limit=2)] == made[::-1]
    assert [file.id for file in own.files.list(limit=4, order="asc")] == made
    assert [file.id for file in own.files.list(purpose="user_data")] == made[-1:]
    page = own.files.list(limit=2, after=made[3])
    assert ([file.id for file in page.data], page.has_more) == ([made[2], made[1]], True)
    with pytest.raises(openai.BadRequestError, match="nope"):
        own.files.list(after="nope")
    # A key with `admin` sees the files of all; another one none of them.
    assert set(made) <= {file.id for file in client.files.list()}
    assert list(tenant().files.list()) == []


def test_another_keys_file_is_unknown(tenant: Any) -> None:
    file = tenant().files.create(file=jsonl(ROW), purpose="fine-tune")
    other = tenant()
    for call in (other.files.retrieve, other.files.content, other.files.delete):
        with pytest.raises(openai.NotFoundError) as caught:
            call(file.id)
        assert caught.value.code == "file_not_found"
    with pytest.raises(openai.BadRequestError, match="go on after"):
        other.files.list(after=file.id)


def test_bad_rows_are_named_by_their_lines(gateway: RunningGateway, client: openai.OpenAI) -> None:
    before = sorted((gateway.home / "files").glob("*"))
    rows: list[Any] = [ROW, {"messages": []}, ROW, {"text": "x"}]
    rows += [{"messages": [{"role": "robot", "content": "x"}]}] * 30
    with pytest.raises(openai.BadRequestError) as caught:
        client.files.create(file=jsonl(*rows) + b"{\n", purpose="fine-tune")
    message = str(caught.value)
    assert caught.value.code == "invalid_training_file"
    assert caught.value.param == "file"
    assert "33 rows of 35" in message
    assert "line 2: `messages`" in message
    assert "line 4: a row needs" in message
    assert "robot" in message
    assert "line 22:" in message
    assert "line 23:" not in message
    assert "13 more" in message
    assert sorted((gateway.home / "files").glob("*")) == before  # nothing is left


@pytest.mark.parametrize("content", [b"", b"\n\n"])
def test_a_file_without_rows_is_refused(client: openai.OpenAI, content: bytes) -> None:
    with pytest.raises(openai.BadRequestError, match="no rows"):
        client.files.create(file=("x.jsonl", content), purpose="fine-tune")


def test_a_file_that_is_too_large_is_413(gateway: RunningGateway, client: openai.OpenAI) -> None:
    before = sorted((gateway.home / "files").glob("*"))
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=b"x" * 300_001, purpose="user_data")
    assert (caught.value.status_code, caught.value.code) == (413, "file_too_large")
    assert sorted((gateway.home / "files").glob("*")) == before
    # Above the file's limit and that of the form: it is not read to its end.
    with pytest.raises(openai.APIStatusError) as caught:
        client.files.create(file=b"x" * 3_000_000, purpose="user_data")
    assert caught.value.status_code == 413


@pytest.mark.parametrize("purpose", ["", "vision", "fine-tune-results", "fine\x00tune"])
def test_an_unknown_purpose_is_refused(client: openai.OpenAI, purpose: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="evals") as caught:
        client.files.create(file=jsonl(ROW), purpose=purpose)
    assert caught.value.param == "purpose"


def test_expiry_is_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="expires_after"):
        client.files.create(
            file=jsonl(ROW),
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )


_PART = b'--b\r\nContent-Disposition: form-data; name="%b"%b\r\n\r\n%b\r\n'
_FILE = _PART % (b"file", b'; filename="x"', b"{}")


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        (b"{}", "application/json", "invalid_form"),
        (b"", "multipart/form-data", "invalid_form"),
        (b"", "multipart/form-data; boundary=" + "b" * 5000, "invalid_form"),
        (b"", "multipart/form-data; boundary=b", "invalid_form"),
        (b"nonsense", "multipart/form-data; boundary=b", "invalid_form"),
        (_FILE, "multipart/form-data; boundary=b", "invalid_form"),  # cut off
        (_FILE + _FILE + b"--b--", "multipart/form-data; boundary=b", "invalid_form"),
        (_FILE + b"--b--", "multipart/form-data; boundary=b", "invalid_purpose"),
        (
            _PART % (b"purpose", b"", b"evals") + b"--b--",
            "multipart/form-data; boundary=b",
            "missing_field",
        ),
        (
            _PART % (b"purpose", b"", b"e" * 9999) + b"--b--",
            "multipart/form-data; boundary=b",
            "invalid_form",
        ),
        (
            _FILE + b"".join(_PART % (b"%d" % i, b"", b"") for i in range(40)) + b"--b--",
            "multipart/form-data; boundary=b",
            "invalid_form",
        ),
        (
            _FILE + _PART % (b"purpose", b"", b"evals") + _PART % (b"x", b"", b"") + b"--b--",
            "multipart/form-data; boundary=b",
            "unknown_field",
        ),
    ],
)
def test_forms_that_are_wrong(gateway: RunningGateway, body: bytes, kind: str, code: str) -> None:
    with gateway.client() as client:
        answer = client.post("/v1/files", content=body, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, code), answer.text
    assert not list((gateway.home / "files").glob(".upload-*"))


def test_the_file_may_come_before_its_purpose(gateway: RunningGateway) -> None:
    body = _FILE + _PART % (b"purpose", b"", b"evals") + b"--b--"
    kind = {"content-type": "multipart/form-data; boundary=b"}
    with gateway.client() as client:
        answer = client.post("/v1/files", content=body, headers=kind)
        assert (answer.status_code, answer.json()["bytes"]) == (200, 2)


def test_a_client_that_leaves_leaves_nothing(gateway: RunningGateway) -> None:
    def half() -> Iterator[bytes]:
        yield _FILE[:-2]
        raise ConnectionError

    headers = {
        "content-type": "multipart/form-data; boundary=b",
        "authorization": f"Bearer {gateway.key}",
        "content-length": "100000",
    }
    with pytest.raises(ConnectionError):
        httpx.post(f"{gateway.url}/v1/files", content=half(), headers=headers)
    wait(lambda: not list((gateway.home / "files").glob(".upload-*")))


def test_a_key_without_training_uploads_documents_alone(gateway: RunningGateway) -> None:
    _, text = Keys(gateway.database).create("narrow", ["inference"])
    _, none = Keys(gateway.database).create("none", ["feedback"])
    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=text, max_retries=0) as client:
        with gateway.client(text) as raw:
            wait(lambda: raw.get("/v1/models").status_code == 200)
        for purpose in ("fine-tune", "evals"):
            with pytest.raises(openai.PermissionDeniedError, match="training"):
                client.files.create(file=jsonl(ROW), purpose=purpose)
        for purpose in ("assistants", "user_data"):
            file = client.files.create(file=("a.txt", b"x"), purpose=purpose)  # type: ignore[arg-type]
            assert client.files.content(file.id).read() == b"x"
            assert client.files.delete(file.id).deleted
        assert list(client.files.list()) == []
    with gateway.client(none) as raw:
        wait(lambda: raw.get("/v1/files").status_code == 403)
