"""ROUGE-L of one answer: the F-measure of the longest common subsequence of words (rouge-score).

Source: Lin, "ROUGE: a package for automatic evaluation of summaries" (2004). Words are runs of
letters and digits of any script; the package's own splitter knows only a to z.
"""

import re
from collections.abc import Sequence

_WORD = re.compile(r"\w+")


class _Words:
    def tokenize(self, text: str) -> list[str]:
        return _WORD.findall(text.casefold())


def rouge_l(answers: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return ROUGE-L of each answer, 0 to 1."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rougeL"], tokenizer=_Words())
    pairs = zip(answers, references, strict=True)
    return [float(scorer.score(ref, said)["rougeL"].fmeasure) for said, ref in pairs]
