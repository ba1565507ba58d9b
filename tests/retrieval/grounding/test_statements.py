import pytest

from retrieval.statements import MOST_CHARACTERS, read, statements_of
from retrieval.stems import stem
from retrieval.terms import number_key


def _shown(text: str) -> list[str]:
    """Each clause as its words, numbers with unit and limit."""
    return [
        " ".join(term.bound + term.key + term.unit for term in clause.terms)
        + (" (not)" if clause.denied else "")
        + (" (instead)" if clause.contrasted else "")
        for clause in read(text).clauses
    ]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("It costs $1,500.00, or 2 million euros.", ["cost 1500usd 2000000eur"]),
        ("At least 14 characters; up to 5 kg.", [">14 character", "<5kg"]),
        ("Python 3.11 or newer is needed.", ["python >3.11 requir"]),
        ("Files older than 90 days go.", ["fil older >90day go"]),
        ("It opens at 9 am, at 8:24 pm, or 12 am.", ["open 9:00 20:24 0:00"]),
        ("On May 5, 2024 it may rain.", ["5 month:5 2024 rain"]),
        ("2026-03-12 and 12 March 2026", ["12 month:3 2026", "12 month:3 2026"]),
        ("It runs on Linux and macOS.", ["run linux maco"]),
        ("It was built between 1887 and 1891 by hand.", ["build 1887 1891 hand"]),
        ("Dogs are allowed, but cats are not.", ["dog allow", "cat (not)"]),
        ("It can't fly and never swims.", ["fly (not)", "swim (not)"]),
        ("Flash is forbidden.", ["flash allow (not)"]),
        ("It is not unavailable.", ["availabl"]),
        ("It is red instead of blue.", ["red", "blu (instead)"]),
        ("db-07 uses --out and a_b of x@y.org.", ["db-07 use --out", "a_b x@y.org"]),
        ("15% or 15 percent", ["15pct 15pct"]),
        ("A second dose, twice a week.", ["second dos", "2 week"]),
    ],
)
def test_clauses(text: str, clauses: list[str]) -> None:
    assert [" ".join(clause.split()) for clause in _shown(text)] == clauses


def test_words_of_the_same_meaning_have_one_stem() -> None:
    groups = (
        "cost costs price priced fees", "begins began starting commenced", "staff employees",
        "telephone phones", "location located situated", "buy bought purchases",
        "running runs operates", "batteries battery", "child children", "require needed",
    )  # fmt: skip
    for group in groups:
        assert len({stem(word) for word in group.split()}) == 1, group
    assert (
        len({stem(word) for word in ("host", "house", "north", "south", "public", "private")}) == 6
    )


@pytest.mark.parametrize(
    ("digits", "key"),
    [("007", "7"), ("1,500", "1500"), ("2,5", "2.5"), ("1.2.3", "1.2.3"), ("10:30:00", "10:30:00")],
)
def test_numbers_have_a_plain_form(digits: str, key: str) -> None:
    assert number_key(digits) == key


def test_what_a_sentence_is() -> None:
    assert read("She never married.").refers
    assert not read("The wheel and its axle turn.").refers
    assert read("It was made by Ada Wren.").passive
    assert read("Is it free?").asks
    assert read("Until 2023 it was 40 euros.").hedges == {"until"}
    assert not read("It is open until 20:00.").hedges
    assert read("It is free unless you ask.").hedges == {"unless"}


def test_rows_have_the_names_of_their_columns() -> None:
    table = "| Room | Price |\n| --- | --- |\n| Garden | 95 EUR |\n| Attic | 70 EUR |"
    rows = statements_of(table)
    assert [row.text for row in rows] == ["| Garden | 95 EUR |", "| Attic | 70 EUR |"]
    assert [[sorted(clause.keys) for clause in row.clauses] for row in rows] == [
        [["garden", "room"], ["95", "cost"]],
        [["attic", "room"], ["70", "cost"]],
    ]
    assert all(row.record for row in rows)


def test_lines_of_a_record_are_one_statement_until_a_name_comes_again() -> None:
    text = "host: db-07\nmemory: 256 GB\nhost: db-08\nmemory: 32 GB"
    first, second = statements_of(text)
    assert first.text == "host: db-07\nmemory: 256 GB"
    assert text[second.start : second.end] == "host: db-08\nmemory: 32 GB"
    (row,) = statements_of("plan: Team; price: 12 USD")
    assert [sorted(clause.keys) for clause in row.clauses] == [["plan", "team"], ["12", "cost"]]


def test_a_passage_is_read_up_to_a_limit() -> None:
    found = statements_of("It is so. " * MOST_CHARACTERS)
    assert found[-1].end <= MOST_CHARACTERS
