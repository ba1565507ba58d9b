"""Passages: cut on structure, with overlap, within the embedder's tokens, at their positions."""

import itertools
import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from retrieval.chunking import Chunker
from retrieval.loaders import load
from retrieval.loaders.parts import Block
from retrieval.passages import embedded_text, text_of
from retrieval.records import Document, Passage
from retrieval.tokens import EmbedderTokens, TokenCounter, WordCounter


def _cut(
    blocks: Sequence[Block],
    most: int = 24,
    overlap: int = 0,
    title: str = "",
    counter: TokenCounter | None = None,
) -> list[Passage]:
    chunker = Chunker(counter or WordCounter(), most, overlap, title)
    passages = [passage for block in blocks for passage in chunker.add(block)]
    return [*passages, *chunker.end()]


def _count(text: str) -> int:
    return WordCounter().count([text])[0]


def _sentences(count: int, seed: int = 1) -> str:
    draw = random.Random(seed)
    words = ["fee", "card", "city", "bank", "loan", "rate", "form", "house", "river", "letter"]
    return " ".join(
        " ".join(draw.choices(words, k=draw.randint(3, 9))).capitalize() + f" {number}."
        for number in range(count)
    )


def test_a_passage_stays_under_its_headings() -> None:
    passages = _cut(
        [
            Block("Guide", 1),
            Block("Opening words."),
            Block("Fees", 2),
            Block("The fee is 5."),
            Block("Cities", 2),
            Block("Bonn and Köln."),
            Block("Appendix", 1),
            Block("The end."),
        ],
        most=200,
    )
    assert [(passage.heading, passage.text) for passage in passages] == [
        ("Guide", "Opening words."),
        ("Guide > Fees", "The fee is 5."),
        ("Guide > Cities", "Bonn and Köln."),
        ("Appendix", "The end."),
    ]
    assert [passage.number for passage in passages] == [0, 1, 2, 3]


def test_a_heading_with_nothing_under_it_is_found_as_text() -> None:
    passages = _cut([Block("Closed on Mondays", 2), Block("Fees", 2), Block("Five.")], most=200)
    assert [passage.text for passage in passages] == ["Closed on Mondays", "Five."]


def test_paragraphs_stay_whole_where_they_fit() -> None:
    one, two, three = (_sentences(2, seed) for seed in (1, 2, 3))
    most = _count(one) + _count(two)
    passages = _cut([Block(one), Block(two), Block(three)], most=most)
    assert [passage.text for passage in passages] == [f"{one}\n\n{two}", three]


def test_long_paragraphs_are_cut_between_sentences_with_overlap() -> None:
    passages = _cut([Block(_sentences(40))], most=40, overlap=15)
    assert len(passages) > 4
    for before, after in itertools.pairwise(passages):
        assert before.text.endswith(".")
        shared = before.start + len(before.text) - after.start
        assert shared > 0
        repeated = after.text[:shared]
        assert before.text.endswith(repeated)
        assert 0 < _count(repeated) <= 15
        assert repeated.endswith(".")
    assert all(_count(passage.text) <= 40 for passage in passages)


def test_without_overlap_nothing_is_said_twice() -> None:
    text = _sentences(30)
    passages = _cut([Block(text)], most=40)
    assert " ".join(passage.text for passage in passages) == text


def test_rows_keep_their_lines_and_are_never_cut_in_two() -> None:
    rows = [f"city: Town {number}; fee: {number} EUR" for number in range(30)]
    passages = _cut([Block(row, tight=True) for row in rows], most=40)
    lines = [line for passage in passages for line in passage.text.split("\n")]
    assert lines == rows


def test_code_keeps_its_lines_and_its_indentation() -> None:
    code = "def fee(city):\n    if city == 'Bonn':\n        return 5\n\n    return 6"
    (passage,) = _cut([Block("The fee:"), Block(code)], most=200)
    assert passage.text == f"The fee:\n\n{code}"


@pytest.mark.parametrize("word", ["A" * 5000, "https://x.example/" + "path/" * 800])
def test_a_word_longer_than_a_passage_is_cut_and_nothing_is_lost(word: str) -> None:
    passages = _cut([Block(f"See {word} for more.")], most=32, counter=_Letters())
    assert len(passages) > 3
    assert all(len(passage.text) <= 4 * 32 for passage in passages)
    # Pieces of a word are put together without white space by nobody: letters are what counts.
    assert "".join("".join(p.text.split()) for p in passages) == f"See{word}formore."


class _Letters:
    """Four letters are a token, as they are nearly so in the embedder's vocabulary."""

    limit: int | None = None

    def count(self, texts: list[str]) -> list[int]:
        return [-(-len(text) // 4) for text in texts]


@pytest.mark.parametrize("seed", range(8))
def test_passages_stand_where_they_say_in_the_documents_text(seed: int) -> None:
    draw = random.Random(seed)
    blocks = []
    for number in range(40):
        kind = draw.random()
        if kind < 0.15:
            blocks.append(Block(f"Heading {number}", draw.randint(1, 4)))
        else:
            text = _sentences(draw.randint(1, 12), seed * 100 + number)
            blocks.append(Block(text, tight=kind > 0.7, runs_on=kind > 0.9, page=1 + number // 10))
    passages = _cut(blocks, most=draw.choice((20, 50, 120)), overlap=draw.choice((0, 10, 30)))
    text = text_of(passages)
    for passage in passages:
        assert text[passage.start : passage.start + len(passage.text)] == passage.text
    words = [word for block in blocks if not block.level for word in block.text.split()]
    headings = {word for block in blocks if block.level for word in block.text.split()}
    assert [word for word in text.split() if word in set(words) - headings] == [
        word for word in words if word not in headings
    ]


def test_pages_are_kept_apart_unless_a_sentence_runs_on() -> None:
    passages = _cut(
        [
            Block("It goes on", page=1),
            Block("and ends.", page=2, runs_on=True),
            Block("New.", page=3),
        ],
        most=100,
    )
    assert [(passage.page, passage.text) for passage in passages] == [
        (1, "It goes on and ends."),
        (3, "New."),
    ]


def test_what_is_embedded_fits_into_the_embedder(minilm: Path) -> None:
    counter = EmbedderTokens(minilm)
    assert counter.limit == 254  # 256 less the marks of begin and end
    title = "A manual with a title that takes a good many tokens, as such titles do"
    text = " ".join("Überweisungsgebührenverzeichnis, §§ 12-14 (ℵ)." for _ in range(400))
    blocks = [Block("A chapter", 1), Block("A section of it", 2), Block(text), Block("Short.")]
    passages = _cut(blocks, most=1000, overlap=50, title=title, counter=counter)
    document = Document(id="d", title=title)
    sizes = counter.count([embedded_text(document, passage) for passage in passages])
    assert max(sizes) <= counter.limit
    assert sizes[0] > 150  # and the room is used


def test_markdown_from_file_to_passages(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text(
        "# Guide\n\nHello there.\n\n## Fees\n\n| city | fee |\n| --- | --- |\n| Bonn | 5 |\n"
        "| Köln | 6 |\n\n```sh\nrun it\n  --now\n```\n"
    )
    blocks = [part for part in load(path, "a.md") if isinstance(part, Block)]
    passages = _cut(blocks, most=200, title="Guide")
    assert [(passage.heading, passage.text) for passage in passages] == [
        ("Guide", "Hello there."),
        ("Guide > Fees", "city: Bonn; fee: 5\ncity: Köln; fee: 6\n\nrun it\n  --now"),
    ]


def test_what_no_text_has_is_dropped() -> None:
    (passage,) = _cut([Block("a\0b \ud83d c"), Block("\0\0")], most=50)
    assert passage.text == "ab � c"
