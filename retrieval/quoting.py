"""An answer in a document's own words, for where the model's are not supported."""

from collections.abc import Sequence

from retrieval.citations import Annotation, Checked, Cited
from retrieval.records import Hit
from retrieval.statements import read
from retrieval.sufficiency import speaks_to
from retrieval.support import Window, windows


def quoted(question: str, hits: Sequence[Hit]) -> Cited:
    """Quote the sentences that speak most to a question, with their citation.

    Returns:
        The quote; its text is empty and `supported` false where no passage speaks to it.
    """
    asked = read(question.rsplit("\n", 1)[-1])
    best = 0.0
    chosen: tuple[Hit, Window] | None = None
    for hit in hits:
        for window in windows(asked.keys, hit.passage.text):
            score = speaks_to(asked, window, hit) - 0.01 * len(window.statements)
            if score > best:
                best, chosen = score, (hit, window)
    if chosen is None:
        return Cited(text="", quoted=True)
    hit, window = chosen
    document, passage = hit.document, hit.passage
    start, end = window.statements[0].start, window.statements[-1].end
    words = " ".join(passage.text[start:end].split())
    text = f"“{words}” [1]"
    annotation = Annotation(
        number=1,
        start=0,
        end=len(text),
        index=len(text) - 3,
        collection=hit.collection,
        document_id=document.id,
        file_id=document.file_id,
        filename=document.filename,
        title=document.title,
        url=document.url,
        quote=passage.text[start:end],
        quote_start=passage.start + start,
        quote_end=passage.start + end,
        page=passage.page,
    )
    sentence = Checked(text=words, supported=True, score=best, hit=list(hits).index(hit))
    return Cited(
        text=text, annotations=(annotation,), supported=True, sentences=(sentence,), quoted=True
    )
