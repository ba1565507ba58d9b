import pytest
from hypothesis import given
from hypothesis import strategies as st

from training.data.checks.personal import is_card, is_iban, kinds

FOUND = {
    "write to Jane.Doe+x@mail.bank.co.uk.": "an e-mail address",
    "<jane@example.com>": "an e-mail address",
    "call +49 (0)30 901820-11": "a telephone number",
    "(415) 555-0132 is mine": "a telephone number",
    "mobile: 0171 2345678": "a telephone number",
    "IBAN GB82 WEST 1234 5698 7654 32 please": "an IBAN",
    "de89370400440532013000": "an IBAN",
    "4111-1111-1111-1111": "a card number",
    "amex 3782 822463 10005": "a card number",
    "my SSN is 123-45-6789": "a social security number",
    "from 8.8.8.8 today": "an IP address",
    "host 2001:4860:4860::8888 again": "an IP address",
}
CLEAN = [
    "I paid 12.50 on 2026-11-24 at 10:15:30, order 1234567890123.",
    "GB82 WEST 1234 5698 7654 33",  # wrong check digits
    "4111 1111 1111 1112",
    "Version 10.4.2.1 and 192.168.0.1, 127.0.0.1 and 999.1.1.1",
    "follow me @jane, 3@4, a@b",
    "serial 0000-0000-0000-0000 and 1.234.567,89",
    "std::vector::size and 12:30:45",
    "The ratio 123-456 fell from 2019-2020 by 100-200.",
]


@pytest.mark.parametrize(("text", "kind"), FOUND.items())
def test_personal_data_is_found(text: str, kind: str) -> None:
    assert kinds(text) == [kind]


@pytest.mark.parametrize("text", CLEAN)
def test_other_numbers_are_left_in_peace(text: str) -> None:
    assert kinds(text) == []


@given(st.integers(10**14, 10**15 - 1))
def test_one_check_digit_of_ten_makes_a_card(number: int) -> None:
    body = f"4{number}"[:15]
    valid = [d for d in "0123456789" if is_card(body + d)]
    assert len(valid) == 1


@given(st.text("0123456789", min_size=18, max_size=18), st.integers(1, 97))
def test_check_digits_of_an_iban_are_those_of_iso_7064(account: str, off: int) -> None:
    right = 98 - int(account + "1314" + "00") % 97  # DE is 1314
    assert is_iban(f"DE{right:02}{account}")
    wrong = 2 + (right - 2 + off) % 97
    assert is_iban(f"DE{wrong:02}{account}") == (wrong % 97 == right % 97)


def test_long_texts_do_not_take_long() -> None:
    for piece in ("1 2 ", "a.", "a@", "1.1.", ":", "AB12 ", "+1 (", "tel 1 "):
        kinds(piece * 50_000)
