from dataclasses import replace
from typing import Any

from gateway.signing import SigningKey, digest
from gateway.store.certificates import Certificate, Certificates
from gateway.store.releases import Release, Releases
from tests.gateway.running import RunningGateway, wait


def _shown(gateway: RunningGateway, release: str) -> Any:
    with gateway.client() as client:
        answer = client.get(f"/v1/models/{release}")
    return answer.json()["driftgate"] if answer.status_code == 200 else {}


def _certified(gateway: RunningGateway, release: Release, key: SigningKey) -> Certificate:
    statement = {
        "type": "driftgate/release-certificate/1",
        "subject": release.id,
        "files": release.digests,
        "parents": [{"id": "base-1"}],
        "evaluation": {"verdict": "PASS"},
        "rollout": {"alias": "production", "approved_by": "alice", "evidence": {"secret": 1}},
        "certified_at": 12.5,
    }
    made = Certificate(release.id, statement, key.public.id, key.sign(statement))
    return Certificates(gateway.database).put(made)


def test_a_release_shows_its_certificate_and_whether_it_holds(gateway: RunningGateway) -> None:
    key = SigningKey.load_or_make(gateway.home / "signing.key")
    release = Release("tuned-1", "m", "r", "/p", {"model.safetensors": "ab"}, 1.0)
    Releases(gateway.database).register(release)
    wait(lambda: bool(_shown(gateway, "tuned-1")))
    assert _shown(gateway, "tuned-1")["certificate"] is None

    made = _certified(gateway, release, key)
    shown = _shown(gateway, "tuned-1")["certificate"]
    assert shown["verified"] is True
    assert shown["key_id"] == key.public.id
    assert shown["signature"] == made.signature
    assert shown["statement_sha256"] == digest(made.statement)
    assert shown["parents"] == ["base-1"]
    assert shown["evaluation"] == "PASS"
    assert shown["rollout"]["approved_by"] == "alice"
    assert "evidence" not in shown["rollout"]  # it may quote what people asked

    changed = made.statement | {"evaluation": {"verdict": "FAIL"}}
    signature = key.sign({"other": 1})
    Certificates(gateway.database).put(replace(made, statement=changed, signature=signature))
    assert _shown(gateway, "tuned-1")["certificate"]["verified"] is False

    other = SigningKey.load_or_make(gateway.home / "elsewhere" / "signing.key")
    _certified(gateway, release, other)
    assert _shown(gateway, "tuned-1")["certificate"]["verified"] is None  # its key is not here


def test_a_certificate_about_other_files_does_not_hold(gateway: RunningGateway) -> None:
    key = SigningKey.load_or_make(gateway.home / "signing.key")
    release = Release("tuned-2", "m", "r", "/p", {"model.safetensors": "ab"}, 1.0)
    Releases(gateway.database).register(release)
    _certified(gateway, replace(release, digests={"model.safetensors": "cd"}), key)
    wait(lambda: bool(_shown(gateway, "tuned-2")))
    assert _shown(gateway, "tuned-2")["certificate"]["verified"] is False
