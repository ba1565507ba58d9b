from hypothesis import given, settings
from hypothesis import strategies as st

from training.data.similarity import (
    LEAST,
    THRESHOLD,
    WIDTH,
    Clusters,
    distinctive,
    jaccard,
    near_pairs,
    shingles,
)

NAMES = "amber basil cedar delta ember fjord grove haven inlet jolly karst lunar maple north"
WORDS = NAMES.split()
TEXTS = st.lists(st.sampled_from(WORDS), min_size=4, max_size=14).map(" ".join)


@given(st.text(), st.text())
def test_shingles_are_sets_of_characters(a: str, b: str) -> None:
    windows = {a[n : n + WIDTH] for n in range(len(a) - WIDTH + 1)}
    others = {b[n : n + WIDTH] for n in range(len(b) - WIDTH + 1)}
    assert len(shingles(a)) == len(windows)
    union = windows | others
    expected = len(windows & others) / len(union) if union else 0.0
    assert jaccard(shingles(a), shingles(b)) == expected


@settings(max_examples=30, deadline=None)
@given(st.lists(TEXTS, min_size=2, max_size=20, unique=True))
def test_pairs_are_those_of_brute_force(texts: list[str]) -> None:
    found = distinctive(texts)
    expected = {
        (a, b)
        for b in range(len(texts))
        for a in range(b)
        if min(len(found[a]), len(found[b])) >= LEAST and jaccard(found[a], found[b]) >= THRESHOLD
    }
    pairs = {(a, b) for a, b, _ in near_pairs(texts)}
    assert pairs <= expected
    # MinHash may miss a pair right at the threshold (two in a thousand), not one well above it.
    assert {p for p in expected if jaccard(found[p[0]], found[p[1]]) > 0.9} <= pairs


def test_what_all_rows_share_makes_none_of_them_alike() -> None:
    told = "Extract the booking slots of the following utterance as JSON with sorted keys: "
    asked = [f"{told}{a} {b} {a} {b}" for a in WORDS for b in WORDS[:6] if a != b]
    assert jaccard(shingles(asked[0]), shingles(asked[1])) > 0.6
    assert list(near_pairs([*asked, "x"], threshold=0.9)) == []


def test_clusters_do_not_depend_on_the_order_of_joins() -> None:
    pairs = [(3, 1), (4, 5), (1, 0)]
    forward, backward = Clusters(6), Clusters(6)
    for a, b in pairs:
        forward.join(a, b)
    for a, b in reversed(pairs):
        backward.join(b, a)
    assert forward.groups() == backward.groups() == [[0, 1, 3], [2], [4, 5]]
