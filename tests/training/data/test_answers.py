import pytest

from training.data.answers import compare, shown


@pytest.mark.parametrize(
    ("a", "b", "verdict"),
    [
        ("card_arrival", "card_arrival", "same"),
        ("Paris.", "paris", "same"),
        ("card_arrival", "lost_card", "incompatible"),
        ("3", "4", "incompatible"),
        ("-3", "3", "incompatible"),
        ('{"a": 1, "b": 2}', '{"b":2,"a":1}', "same"),
        ('{"a": 1}', '{"a": 2}', "incompatible"),
        ('{"a": 1}', "none", "incompatible"),
        (
            "You can return the goods within 14 days of delivery.",
            "You can return the goods within 30 days of delivery.",
            "incompatible",
        ),
        (
            "Yes, you can return opened goods to our shop.",
            "No, you cannot return opened goods to our shop.",
            "incompatible",
        ),
        (
            "You may return the goods within 14 days of the delivery.",
            "Within 14 days of the delivery you may return the goods, please.",
            "compatible",
        ),
        (
            "Our branch in the centre is open from nine in the morning.",
            "Please look at the page of opening hours, which lists every holiday.",
            "unclear",
        ),
    ],
)
def test_answers_are_compared(a: str, b: str, verdict: str) -> None:
    assert compare(a, b) == compare(b, a) == verdict


def test_an_answer_is_shown_on_one_short_line() -> None:
    assert shown('a\n"b"') == '"a \\"b\\""'
    assert len(shown("x" * 500)) == 62
