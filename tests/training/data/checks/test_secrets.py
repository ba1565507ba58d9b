import pytest

from gateway.store.examples import Example, Message
from training.data.checks.secrets import SecretScanner, secrets


@pytest.fixture(scope="module")
def scanner() -> SecretScanner:
    return SecretScanner()


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("key AKIAIOSFODNN7EXAMPLE", "AWS Access Key"),
        ("-----BEGIN RSA PRIVATE KEY-----", "Private Key"),
        ("use ghp_" + "a1B2" * 9, "GitHub Token"),
        ("https://bob:s3cretPw@db.example.com/x", "Basic Auth Credentials"),
        ("first line\npassword = 'tr0ub4dor&3'", "Secret Keyword"),
        ("token 'c3VwZXIgbG9uZyBzdHJpbmcgc2hvdWxkIGNhdXNlIGVub3VnaCBlbnRyb3B5'", "Base64 High"),
    ],
)
def test_secrets_are_found(scanner: SecretScanner, text: str, kind: str) -> None:
    assert any(kind in found for found in scanner.kinds(text))


@pytest.mark.parametrize(
    "text",
    [
        "I forgot my password, how do I reset the passcode?",
        'Press "Forgot password" and then "Continue".',
        'He said "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa".',
        "My server is 8.8.8.8.",
    ],
)
def test_talk_of_passwords_is_no_secret(scanner: SecretScanner, text: str) -> None:
    assert scanner.kinds(text) == set()


def test_arguments_of_tool_calls_are_searched() -> None:
    call = {"tool_calls": [{"function": {"arguments": '{"key": "AKIAIOSFODNN7EXAMPLE"}'}}]}
    example = Example((Message("user", "Do it"), Message("assistant", "", call)), 7)
    found = list(secrets([example]))
    assert [(f.line, f.action) for f in found] == [(7, "quarantine")]
    assert "AKIA" not in found[0].reason


def test_long_texts_do_not_take_long(scanner: SecretScanner) -> None:
    for piece in ("password ", "key=", "a1B2c3D4", "://a:b", "eyJ."):
        scanner.kinds(piece * 5_000)
