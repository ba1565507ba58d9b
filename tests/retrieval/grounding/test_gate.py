import itertools

import msgspec
import pytest

from retrieval.gate import (
    Calibration,
    Decision,
    Policy,
    admits_ignorance,
    after,
    asks_after,
    before,
    topic_of,
)
from retrieval.records import Document, Found, Hit, Passage

_AUTO = Policy(mode="auto")
_KNOWN = Calibration(data_cutoff=1000.0, similarity_floor=0.4, nll_ceiling=1.5)


def _found(
    *, updated_at: float = 0.0, dense: float | None = 0.8, reference: float | None = 0.9
) -> Found:
    hit = Hit(
        collection="vs_1", document=Document(id="d", updated_at=updated_at),
        passage=Passage(number=0, text="x"), score=0.8, dense=dense,
    )  # fmt: skip
    return Found(hits=(hit,), reference_similarity=reference)


def test_off_and_always_ask_nothing() -> None:
    fresh = _found(updated_at=2000.0)
    assert before(Policy(mode="off"), fresh, _KNOWN, "DEGRADED") == Decision(False, "off")
    assert before(Policy(mode="always"), None, Calibration()) == Decision(True, "always")


def test_the_first_reason_that_holds_is_named() -> None:
    """Freshness, then distribution, then health; `after` names uncertainty."""
    order = ("freshness", "distribution", "health")
    for holds in itertools.product((True, False), repeat=3):
        fresh, unusual, degraded = holds
        found = _found(updated_at=2000.0 if fresh else 0.0, reference=0.1 if unusual else 0.9)
        decision = before(_AUTO, found, _KNOWN, "DEGRADED" if degraded else "HEALTHY")
        expected = next((name for name, held in zip(order, holds, strict=True) if held), "none")
        assert decision == Decision(any(holds), expected)  # type: ignore[arg-type]


def test_a_document_of_the_cutoff_itself_is_no_news() -> None:
    assert before(_AUTO, _found(updated_at=1000.0), _KNOWN).reason == "none"
    assert before(_AUTO, _found(updated_at=1000.1), _KNOWN).reason == "freshness"


def test_a_fresh_document_about_something_else_is_no_news() -> None:
    assert before(_AUTO, _found(updated_at=2000.0, dense=0.2), _KNOWN).reason == "none"
    far = Hit(
        collection="vs_1", document=Document(id="far", updated_at=2000.0),
        passage=Passage(number=0, text="x"), score=0.5, dense=0.5,
    )  # fmt: skip
    near = _found(dense=0.8).hits[0]
    assert topic_of(Found(hits=(near, far))) == (near,)
    assert topic_of(Found(hits=(far,))) == (far,)
    assert topic_of(None) == topic_of(Found(hits=())) == ()


def test_hits_of_a_lexical_search_have_no_cosine_and_count() -> None:
    assert before(_AUTO, _found(updated_at=2000.0, dense=None), _KNOWN).reason == "freshness"


def test_warn_needs_documents_on_the_topic_and_degraded_does_not() -> None:
    assert before(_AUTO, _found(), _KNOWN, "WARN") == Decision(True, "health")
    assert before(_AUTO, _found(dense=0.1), _KNOWN, "WARN").retrieve is False
    assert before(_AUTO, None, _KNOWN, "DEGRADED") == Decision(True, "health")


def test_warn_is_for_the_topics_that_drifted_where_they_are_known() -> None:
    elsewhere = msgspec.structs.replace(_found(), inside=False)
    drifted = msgspec.structs.replace(_found(), inside=True)
    assert before(_AUTO, elsewhere, _KNOWN, "WARN").retrieve is False
    assert before(_AUTO, drifted, _KNOWN, "WARN") == Decision(True, "health")
    assert before(_AUTO, elsewhere, _KNOWN, "DEGRADED") == Decision(True, "health")
    assert before(_AUTO, drifted, _KNOWN, "HEALTHY").retrieve is False


def test_what_was_not_measured_never_speaks() -> None:
    nothing = Calibration()
    assert before(_AUTO, _found(updated_at=9e9, reference=0.0), nothing) == Decision(False, "none")
    assert before(_AUTO, _found(reference=None), _KNOWN) == Decision(False, "none")
    assert after(9.0, nothing) == after(None, _KNOWN) == Decision(False, "none")


@pytest.mark.parametrize(("nll", "retrieve"), [(1.4, False), (1.5, False), (1.6, True)])
def test_uncertainty_is_above_the_ceiling(nll: float, retrieve: bool) -> None:
    assert after(nll, _KNOWN) == Decision(retrieve, "uncertainty" if retrieve else "none")


def test_logprobs_are_asked_for_only_where_they_decide() -> None:
    undecided = Decision(False, "none")
    assert asks_after(_AUTO, undecided, _KNOWN)
    assert not asks_after(_AUTO, undecided, Calibration())
    assert not asks_after(Policy(mode="off"), undecided, _KNOWN)
    assert not asks_after(_AUTO, Decision(True, "freshness"), _KNOWN)
    assert not asks_after(_AUTO, before(_AUTO, Found(hits=()), _KNOWN), _KNOWN)


def test_a_degraded_alias_never_falls_back_on_its_own_words() -> None:
    plain = Policy(insufficient="plain")
    assert not admits_ignorance(plain, "HEALTHY")
    assert admits_ignorance(plain, "DEGRADED")
    assert admits_ignorance(Policy(), "HEALTHY")
