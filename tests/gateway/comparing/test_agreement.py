"""Against Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), and its limits."""

import random

import pytest

from gateway.comparing.agreement import alpha


def _items(*raters: str) -> list[list[str]]:
    """Return what was said of each item; a dot is a rating that is missing."""
    return [[said for said in item if said != "."] for item in zip(*raters, strict=True)]


@pytest.mark.parametrize(
    ("raters", "published"),
    [
        # Section A: two raters, two values, nothing missing.
        (("0100000010", "1110010000"), 0.095),
        # Section B: two raters, five names.
        (("aabbdcccedda", "babbbccceddd"), 0.692),
        # Section C: four raters, five names, twelve items, some ratings missing.
        (("123321412...", "1233224125.3", ".3332342251.", "12332441251."), 0.743),
    ],
)
def test_it_is_what_krippendorff_published(raters: tuple[str, ...], published: float) -> None:
    assert alpha(_items(*raters)) == pytest.approx(published, abs=0.0005)


def test_perfect_agreement_is_one_and_chance_is_nought() -> None:
    assert alpha(["aaa", "bbb", "ccc"]) == 1.0
    chance = random.Random(3)
    drawn = [[chance.choice("abcd") for _ in range(3)] for _ in range(4000)]
    assert alpha(drawn) == pytest.approx(0, abs=0.02)
    assert alpha(["ab", "ba", "ab"]) is not None
    assert alpha(["ab", "ba", "ab"]) < 0  # type: ignore[operator]


def test_what_no_two_rated_and_what_does_not_vary_tells_nothing() -> None:
    assert alpha([]) is None
    assert alpha(["a", "b", ""]) is None
    assert alpha(["aaa", "aa"]) is None
    assert alpha(["aa", "b", "bb"]) == alpha(["aa", "bb"])
