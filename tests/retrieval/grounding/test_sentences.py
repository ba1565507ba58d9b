import random

import pytest

from retrieval.sentences import LONGEST, sentence_end, sentences_of


def _split(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences_of(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Wren ran e.g. 3.5 km. He left.", ["Dr. Wren ran e.g. 3.5 km.", "He left."]),
        ("Bake at 220 °C. Let it rest.", ["Bake at 220 °C.", "Let it rest."]),
        ("J. R. Wren wrote it.", ["J. R. Wren wrote it."]),
        ("He said \u201cyes.\u201d Then yes.", ["He said \u201cyes.\u201d", "Then yes."]),
        ("So it is. [1] [2] Next.", ["So it is. [1] [2]", "Next."]),
        ("A line\nthat is wrapped. End.", ["A line\nthat is wrapped.", "End."]),
        ("- First item\n- Second item", ["- First item", "- Second item"]),
        ("1. First step. 2. Second.", ["1. First step.", "2. Second."]),
        ("これはペンです。次の文。", ["これはペンです。", "次の文。"]),
        ("", []),
        (" \n ", []),
    ],
)  # fmt: skip
def test_where_sentences_end(text: str, sentences: list[str]) -> None:
    assert _split(text) == sentences


def test_what_comes_in_pieces_ends_where_the_whole_would() -> None:
    text = "Dr. Wren paid 3.50 [1]. It rained (a lot). \U0001f600 e.g. here! [2, 3]\nNew line. " * 3
    whole = []
    begin = 0
    while begin < len(text):
        begin = sentence_end(text, begin, final=True)
        whole.append(begin)
    for seed in range(20):
        chance = random.Random(seed)
        ends: list[int] = []
        seen = begin = 0
        while seen < len(text):
            seen = min(len(text), seen + chance.randint(1, 9))
            while (end := sentence_end(text[:seen], begin, final=seen == len(text))) > begin:
                ends.append(end)
                begin = end
                if begin == len(text):
                    break
        assert ends == whole


def test_nothing_is_held_back_for_ever() -> None:
    assert 0 < sentence_end("word " * 400, 0, final=False) <= LONGEST
    assert sentence_end("x" * 2000, 0, final=False) == LONGEST
