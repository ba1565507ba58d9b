import pytest

from retrieval.questions import MOST_CHARACTERS, question_of


def _turns(*texts: str) -> list[dict[str, str]]:
    roles = ("user", "assistant")
    return [{"role": roles[place % 2], "content": text} for place, text in enumerate(texts)]


def test_the_last_user_turn_is_the_question() -> None:
    turns = _turns("Who leads sales?", "Maria.", "What does the Team plan cost per month?")
    assert question_of(turns) == "What does the Team plan cost per month?"


@pytest.mark.parametrize("last", ["And how much is it?", "Why?", "What about the other one?"])
def test_a_question_that_points_back_brings_what_it_points_to(last: str) -> None:
    turns = _turns("Tell me of the Team plan of Norda.", "It is good.", last)
    assert question_of(turns) == f"Tell me of the Team plan of Norda.\n{last}"


def test_at_most_three_turns() -> None:
    turns = _turns("One?", "a", "Two?", "b", "Three?", "c", "Four?")
    assert question_of(turns) == "Two?\nThree?\nFour?"


def test_nobody_asks() -> None:
    assert question_of([]) == ""
    assert question_of([{"role": "system", "content": "Be kind."}]) == ""
    assert question_of([{"role": "user", "content": None}]) == ""


def test_parts_that_are_no_text_are_left_out() -> None:
    content = [
        {"type": "image_url", "image_url": {}},
        {"type": "text", "text": "What colour is the sky?"},
    ]
    assert question_of([{"role": "user", "content": content}]) == "What colour is the sky?"


def test_a_pasted_text_keeps_its_question() -> None:
    pasted = "word " * 400 + "Where is the key? " + "more " * 400
    question = question_of([{"role": "user", "content": pasted}])
    assert "Where is the key?" in question
    assert len(question) <= MOST_CHARACTERS + 2
