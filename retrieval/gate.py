"""When a request is answered from documents: the order of the reasons, and what they need.

Freshness → out of the reference distribution → uncertainty of the answer → health of the alias.
The first two and the last are known before the model speaks, so `before` asks them at once; only
where none of them speaks does the model answer plainly, and `after` judge how sure it was. That
health is asked ahead of uncertainty saves an answer and changes no decision, only the reason that
is named.
"""

from typing import Literal

import msgspec

from retrieval.records import Filter, Found, Hit

Mode = Literal["off", "auto", "always"]
Reason = Literal[
    "off", "always", "freshness", "distribution", "uncertainty", "health", "nothing_found", "none"
]

TOPIC_SIMILARITY = 0.35
"""Cosine from which a passage is about what was asked."""
_TOPIC_SPREAD = 0.15  # how far below the best passage another one is still of its topic


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """What a key, an alias or a request wants of retrieval.

    Attributes:
        mode: `off`, `always`, or `auto`: where it helps.
        vector_store_ids: Where to look.
        top_k: Most passages in the prompt.
        filters: What a document's metadata must meet.
        insufficient: What is answered where the passages do not hold the answer: that they do
            not, or the model's plain answer.
        unsupported: What an answer becomes of which the passages support no sentence: a quote of
            the passage that answers, or the model's words without citations.
        sufficient: Threshold of `sufficiency.judge`, before the release's. Passages that are
            examples rather than statements say little by its measure; 0 takes any.
    """

    mode: Mode = "off"
    vector_store_ids: tuple[str, ...] = ()
    top_k: int = 5
    filters: Filter | None = None
    insufficient: Literal["say_so", "plain"] = "say_so"
    unsupported: Literal["quote", "drop"] = "quote"
    sufficient: float | None = None


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a release; None: not measured, and that reason never speaks.

    Attributes:
        data_cutoff: Unix seconds of the newest thing in its training data.
        reference: The collection of prompts that it was trained for.
        similarity_floor: Cosine to the nearest of them below which a prompt is out of them.
        nll_ceiling: Mean negative log-likelihood of an answer's tokens, in nats, above which the
            model is unsure.
        sufficient: Threshold of `sufficiency.judge`, where the default does not fit.
    """

    data_cutoff: float | None = None
    reference: str | None = None
    similarity_floor: float | None = None
    nll_ceiling: float | None = None
    sufficient: float | None = None


class Decision(msgspec.Struct, frozen=True):
    """Whether to answer from documents, and why."""

    retrieve: bool
    reason: Reason


def before(
    policy: Policy, found: Found | None, calibration: Calibration, health: str = "HEALTHY"
) -> Decision:
    """Decide before the model speaks.

    Args:
        policy: What applies to this request.
        found: What the search found; None where it failed or was not made.
        calibration: What is known of the release.
        health: The alias's. WARN asks for retrieval where the documents cover what is asked, and
            where it is of a topic that drifted (as `found` tells, or where nobody knows which
            did); DEGRADED always.

    Returns:
        The decision. With `retrieve` false and the reason `none`, `after` has the last word.
    """
    if policy.mode == "off":
        return Decision(False, "off")
    if policy.mode == "always":
        return Decision(True, "always")
    topic = topic_of(found)
    cutoff = calibration.data_cutoff
    if cutoff is not None and any(hit.document.updated_at > cutoff for hit in topic):
        return Decision(True, "freshness")
    floor = calibration.similarity_floor
    similarity = found.reference_similarity if found is not None else None
    if floor is not None and similarity is not None and similarity < floor:
        return Decision(True, "distribution")
    if health == "DEGRADED" or (health == "WARN" and topic and _drifted(found)):
        return Decision(True, "health")
    if found is not None and not found.hits:
        return Decision(False, "nothing_found")
    return Decision(False, "none")


def after(mean_nll: float | None, calibration: Calibration) -> Decision:
    """Decide by how sure the plain answer was.

    Args:
        mean_nll: Mean negative log-likelihood of its tokens, in nats; None: not known.
        calibration: What is known of the release.
    """
    ceiling = calibration.nll_ceiling
    if ceiling is not None and mean_nll is not None and mean_nll > ceiling:
        return Decision(True, "uncertainty")
    return Decision(False, "none")


def asks_after(policy: Policy, decision: Decision, calibration: Calibration) -> bool:
    """Tell whether `after` could still change `decision`, so that logprobs are worth asking for."""
    undecided = policy.mode == "auto" and decision == Decision(False, "none")
    return undecided and calibration.nll_ceiling is not None


def topic_of(found: Found | None) -> tuple[Hit, ...]:
    """Return the hits that are about what was asked, best first.

    A search returns its nearest passages however far they are, so that a fresh document about
    something else must not count as news. Hits without a cosine (a purely lexical search) count.
    """
    if found is None or not found.hits:
        return ()
    cosines = [hit.dense for hit in found.hits if hit.dense is not None]
    floor = max(TOPIC_SIMILARITY, max(cosines, default=0.0) - _TOPIC_SPREAD)
    return tuple(hit for hit in found.hits if hit.dense is None or hit.dense >= floor)


def _drifted(found: Found | None) -> bool:
    """Tell whether what was asked is of a topic that drifted, or may be, for all that is known."""
    return found is None or found.inside is not False


def admits_ignorance(policy: Policy, health: str) -> bool:
    """Tell whether an insufficient search is answered by saying so.

    A DEGRADED alias is known to be wrong too often, so it never falls back on its own words.
    """
    return policy.insufficient == "say_so" or health == "DEGRADED"
