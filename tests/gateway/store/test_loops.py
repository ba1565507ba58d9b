from gateway.store.certificates import Certificate, Certificates
from gateway.store.database import Database
from gateway.store.loops import Loops


def test_settings_of_a_loop_are_replaced_and_forgotten(database: Database) -> None:
    loops = Loops(database)
    assert loops.get("m") is None
    loops.put("m", {"approval": "human"})
    stored = loops.put("m", {"approval": "auto", "schedule": "0 3 * * 1"})
    assert loops.get("m") == stored
    assert loops.all() == [stored]
    assert loops.remove("m")
    assert not loops.remove("m")


def test_a_certificate_is_replaced_by_a_newer_one(database: Database) -> None:
    certificates = Certificates(database)
    assert certificates.get("r-1") is None
    certificates.put(Certificate("r-1", {"by": "ada"}, "k1", "c2ln"))
    stored = certificates.put(Certificate("r-1", {"by": "ben"}, "k1", "c2ln"))
    assert certificates.get("r-1") == stored
    assert certificates.all() == [stored]
