"""Passwords, tokens and keys in texts: a model that is trained on them tells them to anybody."""

from collections.abc import Iterator, Sequence
from typing import Any

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.source import Progress, silent

CHECK = "secret"
# Public IP addresses are personal data, judged in `personal`.
_LEFT_OUT = {"IPPublicDetector"}


def secrets(examples: Sequence[Example], on_progress: Progress = silent) -> Iterator[Finding]:
    """Find rows with secrets in any turn; the reason says what kind it is, never which.

    Raises:
        ImportError: detect-secrets (https://github.com/Yelp/detect-secrets) is not installed.
    """
    scanner = SecretScanner()
    for number, example in enumerate(examples):
        if number % 500 == 0:
            on_progress("secrets", number, len(examples))
        for turn, message in enumerate(example.messages, 1):
            kinds = scanner.kinds(message.content)
            # Arguments of tool calls are text of the row like any other.
            kinds |= scanner.kinds(str(dict(message.extra))) if message.extra else set()
            if kinds:
                what = ", ".join(sorted(kinds))
                reason = f"turn {turn} ({message.role}) holds a secret: {what}"
                yield Finding(example.line, CHECK, "error", reason, "quarantine")
                break
    on_progress("secrets", len(examples), len(examples))


class SecretScanner:
    """The detectors of detect-secrets, used on strings; nothing is looked up over the network."""

    def __init__(self) -> None:
        from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class

        classes = get_mapping_from_secret_type_to_class().values()
        self._plugins: list[Any] = [c() for c in classes if c.__name__ not in _LEFT_OUT]

    def kinds(self, text: str) -> set[str]:
        """Return the kinds of secrets in a text."""
        return {
            plugin.secret_type
            for line in text.splitlines()
            for plugin in self._plugins
            if any(_is_secret(plugin, found) for found in plugin.analyze_string(line))
        }


def _is_secret(plugin: Any, found: str) -> bool:
    # The entropy of quoted strings is a limit that the plugin keeps only in its line-wise form,
    # which may also ask the issuer of a key whether it is valid: texts must not leave the machine.
    limit = getattr(plugin, "entropy_limit", None)
    return limit is None or plugin.calculate_shannon_entropy(found) > limit
