"""Topics of prompts: found, named, and told apart from noise."""

import csv
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from monitoring.topics import NEW, UNKNOWN, Topics, TopicsUnusable
from monitoring.topics.clusters import Vectors, unit
from monitoring.topics.emerging import risen
from monitoring.topics.naming import Vocabulary, examples, one_line

ROOT = Path(__file__).parents[3]
DIMENSIONS = 48
WORDS = {
    "card": [
        "When will my new card arrive",
        "My new card has not arrived yet",
        "Track my new card",
    ],
    "pin": ["I forgot my pin code", "How do I change the pin code", "Is the pin code secret"],
    "fee": ["Why a transfer fee abroad", "Who pays the transfer fee", "The transfer fee is wrong"],
    "cash": ["The machine kept my cash", "How much cash can I withdraw", "Cash was not given"],
    "watch": [
        "Can I pay with apple watch",
        "My apple watch does not pay",
        "Add card to apple watch",
    ],
}


def middle(topic: str) -> Vectors:
    number = list(WORDS).index(topic)
    return unit(np.random.default_rng(number).normal(size=(1, DIMENSIONS)))


def drawn(topics: Sequence[str], seed: int, noise: float = 0.12) -> tuple[Vectors, list[str]]:
    """Return vectors around the topics' middles, and texts about them."""
    rng = np.random.default_rng(seed)
    rows = np.concatenate([middle(topic) for topic in topics])
    texts = [f"{WORDS[topic][rng.integers(3)]}, case {rng.integers(10**6)}?" for topic in topics]
    return unit(rows + rng.normal(size=rows.shape) * noise), texts


def mixed(seed: int, count: int, **shares: float) -> tuple[Vectors, list[str]]:
    rng = np.random.default_rng(seed)
    names = list(shares)
    return drawn(rng.choice(names, size=count, p=list(shares.values())).tolist(), seed)


@pytest.fixture(scope="module")
def topics() -> Topics:
    """Topics of 600 prompts about three things."""
    return Topics.fit(*mixed(1, 600, card=0.5, pin=0.3, fee=0.2))


def test_topics_are_named_by_their_terms_with_examples(topics: Topics) -> None:
    labels = " / ".join(topic.label for topic in topics.topics)
    for term in ("new card", "pin code", "transfer fee"):
        assert term in labels
    for topic in topics.topics:
        assert 1 <= len(topic.examples) <= 3
        assert len(set(topic.examples)) == len(topic.examples)
    assert sum(topic.share for topic in topics.topics) == pytest.approx(1)


def test_prompts_are_assigned_to_the_topic_that_they_are_about(topics: Topics) -> None:
    ids = topics.assign(drawn(["pin"] * 50 + ["fee"] * 50, seed=5)[0])
    assert all("pin" in topics.topics[each].label for each in ids[:50] if each != NEW)
    assert all("fee" in topics.topics[each].label for each in ids[50:] if each != NEW)
    assert (ids == NEW).mean() < 0.06


def test_prompts_far_from_every_topic_are_new_and_rows_without_a_vector_unknown(
    topics: Topics,
) -> None:
    vectors = drawn(["watch"] * 20 + ["card"] * 2, seed=6)[0]
    vectors[20], vectors[21] = np.nan, 0
    ids = topics.assign(vectors)
    assert (ids[:20] == NEW).all()
    assert ids[20:].tolist() == [UNKNOWN, UNKNOWN]
    assert topics.shares(ids)[NEW] == 1.0
    assert topics.assign(vectors[:0]).tolist() == []
    assert set(topics.shares(ids[:0]).values()) == {0.0}


def test_each_topic_has_its_own_mean_loss(topics: Topics) -> None:
    vectors, _ = drawn(["pin"] * 30 + ["card"] * 30, seed=7)
    losses = np.asarray([1.0] * 30 + [0.0] * 29 + [np.nan])
    found = topics.seen(vectors, losses)
    by_label = {topic.label: topic.loss for topic in found}
    assert all(loss == (1 if "pin" in label else 0) for label, loss in by_label.items())
    assert [topic.share for topic in found] == sorted((t.share for t in found), reverse=True)


def test_a_new_topic_is_named_with_its_share(topics: Topics) -> None:
    shares = {"card": 0.43, "pin": 0.26, "fee": 0.17, "watch": 0.14}
    found = topics.emerging(*mixed(8, 300, **shares))
    assert len(found) == 1
    topic = found[0].topic
    assert "apple watch" in topic.label
    assert topic.share == pytest.approx(0.14, abs=0.05)
    assert topic.reference_share < 0.01
    assert all("apple watch" in example for example in topic.examples)
    assert found[0].sentence().startswith("new: ")
    assert len(found[0].rows) == pytest.approx(300 * 0.14, abs=12)


def test_a_topic_that_is_asked_more_often_is_told(topics: Topics) -> None:
    found = topics.emerging(*mixed(9, 300, card=0.3, pin=0.2, fee=0.5))
    assert found
    assert all("transfer fee" in each.topic.label for each in found)
    assert all(each.topic.share > each.topic.reference_share for each in found)


def test_the_same_mix_is_no_news(topics: Topics) -> None:
    told = [topics.emerging(*mixed(100 + s, 200, card=0.5, pin=0.3, fee=0.2)) for s in range(30)]
    assert sum(map(bool, told)) <= 2


@pytest.mark.parametrize("count", [0, 1, 5])
def test_few_recent_prompts_say_nothing(topics: Topics, count: int) -> None:
    assert topics.emerging(*drawn(["watch"] * count or ["card"], seed=3)) == []
    assert topics.emerging(np.zeros((0, DIMENSIONS), np.float32), []) == []


@pytest.mark.parametrize("rows", [0, 5, 100])
def test_too_few_or_equal_rows_have_no_topics(rows: int) -> None:
    with pytest.raises(TopicsUnusable):
        Topics.fit(np.tile(middle("card"), (rows, 1)), ["the same"] * rows)


def test_rows_without_a_vector_are_left_out_of_the_fit() -> None:
    vectors, texts = mixed(2, 100, card=0.5, pin=0.5)
    vectors[::10] = np.nan
    found = Topics.fit(vectors, texts)
    assert sum(topic.share for topic in found.topics) == pytest.approx(1)


def test_the_fit_is_the_same_each_time() -> None:
    first, second = (Topics.fit(*mixed(4, 200, card=0.5, fee=0.5)) for _ in range(2))
    assert first.topics == second.topics


def test_a_label_says_nothing_twice() -> None:
    rest = Vocabulary.of([["Where is my card"] * 20, ["Change the pin"] * 20])
    prompts = ["Which exchange rates apply", "The exchange rate is wrong", "Exchange rates today"]
    assert rest.label(prompts).startswith("exchange rate")
    assert rest.label(prompts).count("exchange") == 1
    assert rest.label(["the of and", ""]) == "(no words)"


def test_examples_are_short_lines_that_differ() -> None:
    texts = ["Where is it?", "where is it", "x\ny\x00\u202e" + "z" * 500, "", "last"]
    found = examples(texts, [0.9, 0.8, 0.7, 0.6, 0.5])
    assert found[0] == "Where is it?"
    assert found[2] == "last"
    assert len(found[1]) == 200
    assert found[1].startswith("x y zzz")
    assert one_line("a" * 200) == "a" * 200


def test_the_test_of_shares_is_as_rare_as_it_says() -> None:
    rng = np.random.default_rng(0)
    p = [risen(rng.binomial(300, 0.1), 300, rng.binomial(2000, 0.1), 2000) for _ in range(2000)]
    assert np.mean(np.asarray(p) <= 0.05) <= 0.06
    assert risen(30, 300, 20, 2000) < 1e-6
    assert risen(0, 0, 0, 0) == 1.0


def test_real_questions_of_a_hidden_intent_are_found(public_data: Path) -> None:
    """BANKING77, with a bag of words in place of a model: a new intent is told by its words."""
    path = public_data / "banking77" / "train.csv"
    from retrieval.embedder import HashEmbedder

    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    rng = np.random.default_rng(0)
    order = rng.permutation(len(rows))
    hidden = "apple_pay_or_google_pay"
    known = [rows[i]["text"] for i in order if rows[i]["category"] != hidden]
    new = [rows[i]["text"] for i in order if rows[i]["category"] == hidden]
    embed = HashEmbedder(256).embed
    fitted = Topics.fit(embed(known[:1500])[0], known[:1500])
    recent = known[1500:1900] + new[:60]
    found = fitted.emerging(embed(recent)[0], recent)
    assert any("apple pay" in each.topic.label or "google pay" in each.topic.label
               for each in found)  # fmt: skip


def test_importing_topics_loads_no_learning_library() -> None:
    code = "import sys, monitoring.topics; print({'sklearn', 'scipy', 'pandas'} & set(sys.modules))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert run.stdout.strip() == "set()", run.stderr
