"""Personal data in texts: e-mail addresses, telephone numbers, IBANs, cards, IP addresses.

Numbers count only where their check digits are right, so that order numbers are left in peace.
Names and postal addresses are not found: that needs a model, and a person who looks.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Sequence

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.source import Progress, silent

CHECK = "personal_data"

_EMAIL = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[\w-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])")
_PHONES = (
    re.compile(r"(?<![\w+])\+\d(?:[\s().\-/]{0,2}\d){7,14}(?!\d)"),
    re.compile(r"(?<![\w.-])\(?\d{3}\)?[-. ]\d{3}[-. ]\d{4}(?![\w-])"),
    re.compile(r"(?<![\w.,-])0\d{2,4}[ /-]\d{3,4}[ -]?\d{3,5}(?![\w-])"),
    re.compile(
        r"\b(?:phone|telephone|tel|mobile|cell|call me (?:at|on)|telefon|handy|teléfono)\b"
        r"[^\d\n]{0,20}\d(?:[\s().\-/]?\d){6,14}(?!\d)",
        re.IGNORECASE,
    ),
)
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,40}", re.IGNORECASE)
_CARD = re.compile(r"(?<![\w.,-])[2-6]\d{3}(?:[ -]?\d){9,15}(?![\w-])")
_SSN = re.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])")
_IPV4 = re.compile(r"(?<![\w.])(?<!version )(?:\d{1,3}\.){3}\d{1,3}(?![\w]|\.\d)", re.IGNORECASE)
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9a-f]{0,4}:){2,7}[0-9a-f]{0,4}(?![\w:])", re.IGNORECASE)

# Lengths of IBANs by country (SWIFT, IBAN Registry, release 99).
_LENGTHS = (
    "AD:24 AE:23 AL:28 AT:20 AZ:28 BA:20 BE:16 BG:22 BH:22 BR:29 BY:28 CH:21 CR:22 CY:28 CZ:24 "
    "DE:22 DK:18 DO:28 EE:20 EG:29 ES:24 FI:18 FO:18 FR:27 GB:22 GE:22 GI:23 GL:18 GR:27 GT:28 "
    "HR:21 HU:28 IE:22 IL:23 IQ:23 IS:26 IT:27 JO:30 KW:30 KZ:20 LB:28 LC:32 LI:21 LT:20 LU:20 "
    "LV:21 MC:27 MD:24 ME:22 MK:19 MR:27 MT:31 MU:30 NL:18 NO:15 PK:24 PL:28 PS:29 PT:25 QA:29 "
    "RO:24 RS:22 SA:24 SE:24 SI:19 SK:24 SM:27 TN:24 TR:26 UA:29 VA:22 VG:24 XK:20"
)
_IBAN_LENGTHS = dict(pair.split(":") for pair in _LENGTHS.split())


def personal(examples: Sequence[Example], on_progress: Progress = silent) -> Iterator[Finding]:
    """Find rows with personal data in any turn; the reason says what kind it is, never which."""
    for number, example in enumerate(examples):
        if number % 500 == 0:
            on_progress("personal data", number, len(examples))
        for turn, message in enumerate(example.messages, 1):
            text = f"{message.content} {dict(message.extra) or ''}"
            found = kinds(text)
            if found:
                reason = f"turn {turn} ({message.role}) holds personal data: {', '.join(found)}"
                yield Finding(example.line, CHECK, "warning", reason, "quarantine")
                break
    on_progress("personal data", len(examples), len(examples))


def kinds(text: str) -> list[str]:
    """Return the kinds of personal data in a text."""
    return [kind for kind, holds in _KINDS.items() if holds(text)]


def is_iban(text: str) -> bool:
    """Check an IBAN's length and check digits (ISO 13616, ISO 7064 MOD 97-10)."""
    compact = text.replace(" ", "").upper()
    length = _IBAN_LENGTHS.get(compact[:2])
    if length is None or len(compact) < int(length):
        return False
    compact = compact[: int(length)]
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def is_card(text: str) -> bool:
    """Check a card number's length and check digit (ISO/IEC 7812-1, Luhn)."""
    digits = [int(c) for c in text if c.isdigit()]
    if not 13 <= len(digits) <= 19 or len(set(digits)) < 2:
        return False
    doubled = [d * 2 - 9 * (d > 4) for d in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def is_personal_ip(text: str) -> bool:
    """Check that this is an address which may be somebody's: none of a private or local network."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return False
    documentation = any(address in network for network in _DOCUMENTATION)
    return address.is_global or documentation


# Networks for examples in texts (RFC 5737, RFC 3849): to a reader they are like any other.
_DOCUMENTATION = [
    ipaddress.ip_network(network)
    for network in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]


def _any(pattern: re.Pattern[str], is_one: Callable[[str], bool]) -> Callable[[str], bool]:
    return lambda text: any(is_one(match.group()) for match in pattern.finditer(text))


_KINDS: dict[str, Callable[[str], bool]] = {
    "an e-mail address": lambda text: "@" in text and _EMAIL.search(text) is not None,
    "a telephone number": lambda text: any(pattern.search(text) for pattern in _PHONES),
    "an IBAN": _any(_IBAN, is_iban),
    "a card number": _any(_CARD, is_card),
    "a social security number": lambda text: _SSN.search(text) is not None,
    "an IP address": lambda text: (
        _any(_IPV4, is_personal_ip)(text) or (":" in text and _any(_IPV6, is_personal_ip)(text))
    ),
}
