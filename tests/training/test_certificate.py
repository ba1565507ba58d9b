import math
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gateway.signing import PublicKey, SigningKey
from gateway.store.certificates import Certificates
from gateway.store.database import Database
from gateway.store.jobs import Job, Jobs
from gateway.store.releases import Releases
from gateway.store.retraining import Retraining
from gateway.store.rollouts import Rollout, Rollouts
from gateway.verifying import Finding, verify
from tests.training.releases import BASE, TUNED, registered
from training.certificate import attempt, certify, describe


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "driftgate.db")
    database = Database(f"sqlite:///{tmp_path / 'driftgate.db'}")
    yield database
    database.close()


@pytest.fixture
def key(database: Database, tmp_path: Path) -> PublicKey:
    """The key of the host, after both releases were registered and the tuned one certified."""
    registered(database, tmp_path)
    certify(database, tmp_path, TUNED)
    return PublicKey.load(tmp_path / "signing.pub")


def _failed(findings: list[Finding]) -> dict[str, tuple[str, ...]]:
    return {finding.check: finding.found for finding in findings if not finding.passed}


def _change(database: Database, **fields: Any) -> None:
    """Write over the stored certificate, as somebody with the database's password could."""
    certificates = Certificates(database)
    known = certificates.get(TUNED)
    assert known is not None
    certificates.put(replace(known, **fields))


def test_a_release_and_its_certificate_hold(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    findings = verify(database, TUNED, key)
    assert _failed(findings) == {}
    assert [f.check for f in findings] == ["signature", "record", "files", "adapter", "parents"]
    assert findings[-1].found == (f"{TUNED} ← {BASE}",)


def test_the_statement_tells_the_whole_story(database: Database, tmp_path: Path) -> None:
    registered(database, tmp_path)
    job = Job(
        "ftjob-1", "aaaaaaaa", 5.0, "production", BASE, "file-1", None, {"n_epochs": 1}, 2**62 + 1,
        None, {}, None, {}, "candidate",
    )  # fmt: skip
    Jobs(database).add(job)
    request, _ = Retraining(database).open("production", BASE, "drift", "act", {"e": 40.5})
    assert Retraining(database).take(request.id)
    Retraining(database).note(request.id, attribution={"fault": "model"}, rows=300, job="ftjob-1")
    rollouts = Rollouts(database)
    rollouts.add(
        Rollout(
            "rlt-1", "production", TUNED, BASE, {"shares": [0.01]}, request=request.id,
            evidence={"canary-1": {"e": math.e, "verdict": "PASS"}},
        )
    )  # fmt: skip
    rollouts.approve("rlt-1", "alice")
    rollouts.write("rlt-1", status="promoted", evidence={"canary-1": {"e": math.inf}})
    statement = certify(database, tmp_path, TUNED).statement

    assert statement["subject"] == TUNED
    assert statement["job"]["seed"] == str(2**62 + 1)  # no double holds it
    assert statement["trigger"]["source"] == "act"
    assert statement["trigger"]["evidence"] == {"e": 40.5}
    assert statement["trigger"]["attribution"] == {"fault": "model"}
    assert statement["rollout"]["approved_by"] == "alice"
    assert statement["rollout"]["evidence"] == {"canary-1": {"e": "inf"}}
    assert statement["evaluation"] == {"verdict": "PASS", "gates": {"integrity": "PASS"}}
    assert statement["adapter"]["merge"] == {"kl": 1e-4}
    assert statement["versions"]["training"] == {"torch": "2.13.0"}
    assert [parent["id"] for parent in statement["parents"]] == [BASE]
    stored = Certificates(database).get(TUNED)
    assert stored is not None
    assert stored.statement == statement
    assert PublicKey.load(tmp_path / "signing.pub").verifies(stored.statement, stored.signature)


def test_a_release_without_a_past_can_be_certified(database: Database, tmp_path: Path) -> None:
    registered(database, tmp_path)
    statement = certify(database, tmp_path, BASE).statement
    assert (statement["parents"], statement["job"], statement["rollout"]) == ([], None, None)
    key = PublicKey.load(tmp_path / "signing.pub")
    assert _failed(verify(database, BASE, key)) == {}


def test_unknown_releases_are_told(database: Database, tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="nobody"):
        certify(database, tmp_path, "nobody")
    registered(database, tmp_path)
    key = SigningKey.load_or_make(tmp_path / "signing.key").public
    assert "certificate" in _failed(verify(database, BASE, key))


def test_one_changed_byte_of_the_weights_is_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    weights = tmp_path / TUNED / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[1000] ^= 1
    weights.write_bytes(content)
    failed = _failed(verify(database, TUNED, key))
    assert list(failed) == ["files"]
    assert failed["files"][0].startswith("model.safetensors: changed")


def test_missing_and_added_files_are_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    (tmp_path / TUNED / "config.json").unlink()
    (tmp_path / TUNED / "model-2.safetensors").write_bytes(b"x")
    (tmp_path / "adapter" / "adapter_config.json").write_text("{ }")
    failed = _failed(verify(database, TUNED, key))
    assert failed["files"] == ("config.json: missing", "model-2.safetensors: added")
    assert failed["adapter"][0].startswith("adapter_config.json: changed")


def test_an_adapter_that_is_not_kept_any_more_is_no_fault(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    for file in (tmp_path / "adapter").iterdir():
        file.unlink()
    (tmp_path / "adapter").rmdir()
    assert _failed(verify(database, TUNED, key)) == {}


def test_a_changed_statement_is_found(database: Database, tmp_path: Path, key: PublicKey) -> None:
    changed = describe(database, TUNED)
    changed["evaluation"]["verdict"] = "FAIL"
    _change(database, statement=changed)
    assert _failed(verify(database, TUNED, key)) == {
        "signature": ("statement or signature was changed",)
    }


def test_a_changed_signature_is_found(database: Database, tmp_path: Path, key: PublicKey) -> None:
    known = Certificates(database).get(TUNED)
    assert known is not None
    first = "A" if known.signature[0] != "A" else "B"
    _change(database, signature=first + known.signature[1:])
    assert list(_failed(verify(database, TUNED, key))) == ["signature"]


def test_the_certificate_of_another_release_is_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    other = certify(database, tmp_path, BASE)
    _change(database, statement=other.statement, signature=other.signature)
    failed = _failed(verify(database, TUNED, key))
    assert failed["signature"] == (f"the statement is about '{BASE}'",)


def test_another_key_does_not_verify(database: Database, tmp_path: Path, key: PublicKey) -> None:
    other = SigningKey.load_or_make(tmp_path / "other" / "signing.key").public
    failed = _failed(verify(database, TUNED, other))
    assert list(failed) == ["signature"]
    assert key.id in failed["signature"][0]
    assert other.id in failed["signature"][0]


def test_a_record_that_was_changed_after_signing_is_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    known = Certificates(database).get(TUNED)
    signer = SigningKey.load_or_make(tmp_path / "signing.key")
    assert known is not None
    statement = known.statement | {"release": known.statement["release"] | {"job": "ftjob-9"}}
    _change(database, statement=statement, signature=signer.sign(statement))
    failed = _failed(verify(database, TUNED, key))
    assert failed == {"record": ("job: 'ftjob-1', signed was 'ftjob-9'",)}


def test_a_chain_that_is_not_as_signed_is_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    known = Certificates(database).get(TUNED)
    signer = SigningKey.load_or_make(tmp_path / "signing.key")
    assert known is not None
    (parent,) = known.statement["parents"]
    for parents, told in (
        ([], f"{BASE}: the chain breaks off before it"),
        ([parent | {"digests_sha256": "0" * 64}], f"{BASE}: its digests are not what they were"),
        ([parent | {"id": "unknown"}], f"unknown: {BASE} should come here"),
    ):
        statement = known.statement | {"parents": parents}
        _change(database, statement=statement, signature=signer.sign(statement))
        failed = _failed(verify(database, TUNED, key))
        assert list(failed) == ["parents"]
        assert failed["parents"][0] == told


def test_a_parent_whose_own_certificate_was_changed_is_found(
    database: Database, tmp_path: Path, key: PublicKey
) -> None:
    own = certify(database, tmp_path, BASE)
    assert _failed(verify(database, TUNED, key)) == {}
    changed = own.statement | {"files": {}}
    Certificates(database).put(replace(own, statement=changed))
    assert list(_failed(verify(database, TUNED, key))) == ["parents"]
    assert Releases(database).get(BASE) is not None


def test_other_work_goes_on_where_the_key_is_wrong(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    registered(database, tmp_path)
    (tmp_path / "signing.key").write_text("no key")
    told = attempt(database, tmp_path, TUNED)
    assert told is not None
    assert told.startswith(f"{TUNED} has no certificate: ")
    assert Certificates(database).get(TUNED) is None
    monkeypatch.setenv("DRIFTGATE_SIGNING_KEY", str(tmp_path / "elsewhere.key"))
    assert attempt(database, tmp_path, TUNED) is None
    assert Certificates(database).get(TUNED) is not None
