"""Which language a text is in.

The identifier is py3langid, after Lui and Baldwin, "langid.py: an off-the-shelf language
identification tool", ACL 2012. It is loaded with the first text, which takes over a second.
"""

from functools import cache
from typing import Any

LEAST_LETTERS = 20
# Of the questions in BANKING77's test part with 20 letters and more, all English, 98.7 % are judged
# at this confidence, and none of them as another language.
_CONFIDENCE = 0.5
# The rest of a text changes little, and costs: under 0.1 ms for so many characters.
_READ = 120


def language(text: str) -> str:
    """Return the ISO 639-1 code of a text; "" where it is too short or too unclear to tell."""
    text = text[:_READ]
    if sum(map(str.isalpha, text)) < LEAST_LETTERS:
        return ""
    # A lone surrogate, as broken JSON escapes leave it, cannot be encoded.
    code, confidence = _identifier().classify(text.encode("utf-8", "replace"))
    return str(code) if confidence >= _CONFIDENCE else ""


@cache
def _identifier() -> Any:
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    return LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
