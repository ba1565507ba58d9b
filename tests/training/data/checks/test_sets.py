"""Checks that judge the set as a whole: labels, languages, contributors."""

from collections import Counter

from gateway.store.examples import Example, Message
from training.data.checks.contributors import contributors, shares
from training.data.checks.labels import balance, labels
from training.data.checks.language import languages, strangers

ENGLISH = "Could you please tell me how long the transfer of money to my account is going to take?"
GERMAN = "Könnten Sie mir bitte sagen, wie lange die Überweisung auf mein Konto noch dauern wird?"


def rows(*pairs: tuple[str, str], contributor: str = "") -> list[Example]:
    return [
        Example((Message("user", q), Message("assistant", a)), n, contributor=contributor)
        for n, (q, a) in enumerate(pairs, 1)
    ]


def test_labels_are_counted_and_unbalance_is_said() -> None:
    answers = ["card"] * 60 + ["cash"] * 4 + ["loan"] * 5 + ["crad"]
    counted = labels(rows(*((f"q{n}", a) for n, a in enumerate(answers))))
    assert counted == Counter(answers)
    told = [(f.severity, f.reason) for f in balance(counted)]
    assert [severity for severity, _ in told] == ["info", "warning", "warning"]
    assert "`card` has 60 of 70 rows" in told[1][1]
    assert "`crad`" in told[2][1]


def test_free_text_is_no_set_of_labels() -> None:
    assert labels(rows(*((f"q{n}", f"answer {n}") for n in range(40)))) is None
    assert labels(rows(*((f"q{n}", '{"a": 1}') for n in range(40)))) is None
    assert list(balance(None)) == []


def test_a_rare_language_is_named_by_row_and_a_common_one_is_part_of_the_mix() -> None:
    rare = rows(*((ENGLISH + str(n), "ok") for n in range(30)), (GERMAN, "ok"), ("kurz", "ok"))
    found = list(strangers(rare, languages(rare)))
    assert [(f.line, f.severity) for f in found] == [(31, "warning"), (0, "info")]
    assert "en 96.8%, de 3.2% of 31 rows" in found[1].reason
    mixed = rows(*((text + str(n), "ok") for n in range(5) for text in (ENGLISH, GERMAN)))
    assert [f.line for f in strangers(mixed, languages(mixed))] == [0]


def test_an_answer_in_another_language_is_found() -> None:
    pairs = [(ENGLISH + str(n), ENGLISH) for n in range(30)]
    mixed = rows(*pairs, (ENGLISH, GERMAN))
    assert [f.line for f in strangers(mixed, languages(mixed)) if f.line] == [31]


def test_one_contributor_of_several_with_most_rows_is_named() -> None:
    several = rows(("a", "b"), ("c", "d"), contributor="ann") + rows(("e", "f"), contributor="bob")
    found = list(shares(contributors(several)))
    assert [f.severity for f in found] == ["info", "warning"]
    assert "ann gave 66.7%" in found[1].reason
    assert list(shares(contributors(rows(("a", "b"))))) == []
