"""Which languages the rows are in, and rows that are in another one than the rest."""

from collections import Counter
from collections.abc import Iterator, Sequence

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.source import Progress, silent

CHECK = "language"
# Shorter texts cannot be judged: in BANKING77, all English, one in a hundred of them was taken for
# another language.
_LEAST_LETTERS = 60
_LEAST_WORDS = 8
_CONFIDENCE = 0.9
# A language belongs to the data set where it has this share of the judged rows, and two at least.
_BELONGS_SHARE, _BELONGS_ROWS = 0.05, 2
_LEAST_JUDGED = 5


def languages(examples: Sequence[Example], on_progress: Progress = silent) -> list[frozenset[str]]:
    """Return the languages (ISO 639-1) of each row's question and answer, where they can be judged.

    The identifier is py3langid, after Lui and Baldwin, "langid.py: an off-the-shelf language
    identification tool", ACL 2012.
    """
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    found: list[frozenset[str]] = []
    known: dict[str, str] = {}
    for number, example in enumerate(examples):
        if number % 500 == 0:
            on_progress("languages", number, len(examples))
        codes = set()
        for text in (example.question, example.answer):
            if text not in known:
                known[text] = _language(identifier.classify, text)
            codes.add(known[text])
        found.append(frozenset(codes - {""}))
    on_progress("languages", len(examples), len(examples))
    return found


def mix(found: Sequence[frozenset[str]]) -> Counter[str]:
    """Return how many rows have each language."""
    return Counter(code for codes in found for code in codes)


def strangers(examples: Sequence[Example], found: Sequence[frozenset[str]]) -> Iterator[Finding]:
    """Find rows in a language that hardly any other row is in, and say what the mix is."""
    counted = mix(found)
    judged = sum(1 for codes in found if codes)
    if not judged:
        return
    main = counted.most_common(1)[0][0]
    least = max(_BELONGS_ROWS, _BELONGS_SHARE * judged) if judged >= _LEAST_JUDGED else 0
    rare = {code for code, count in counted.items() if count < least and code != main}
    for example, codes in zip(examples, found, strict=True):
        for code in sorted(codes & rare):
            reason = f"a text is in `{code}`, the data set is mostly in `{main}`"
            yield Finding(example.line, CHECK, "warning", reason)
    shares = ", ".join(f"{code} {n / judged:.1%}" for code, n in counted.most_common(6))
    reason = f"{shares} of {judged:,} rows long enough to be judged"
    yield Finding(0, CHECK, "info", reason)


def _language(classify: object, text: str) -> str:
    letters = sum(map(str.isalpha, text))
    if letters < _LEAST_LETTERS or len(text.split()) < _LEAST_WORDS:
        return ""
    code, confidence = classify(text[:2000])  # type: ignore[operator]
    return code if confidence >= _CONFIDENCE else ""
