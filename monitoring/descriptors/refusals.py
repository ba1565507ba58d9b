"""Whether an answer begins by declining what was asked.

Only the beginning is read, since what follows a proper answer ("… but I can't help with tax") is no
refusal of it. An apology alone is none either ("I'm sorry to hear that"), nor is "I can't" with a
verb that declines nothing ("I can't wait", "I can't find a charge of that sum"). The openings are
those of common assistants; the tests hold a labelled list of them and of answers that look alike.
"""

import re
import unicodedata

_READ = 300

_ENGLISH_VERBS = (
    r"(?:help|assist|provide|answer|comply|fulfil|fulfill|discuss|share|support|continue|engage|"
    r"create|generate|write|produce|respond|do (?:that|this|it|so)|give (?:you|out|advice|any)|"
    r"talk about|advise|offer|participate|complete (?:this|that|your) request|process that)"
)
_CANNOT = r"(?:can't|cannot|can not|won't|will not|am unable to|'m unable to|am not able to|" \
          r"'m not able to|am not allowed to|'m not allowed to|couldn't|could not|" \
          r"must decline to|am not permitted to|'m not permitted to)"  # fmt: skip
_SORRY = (
    r"(?:(?:i'm|i am|we're|we are)?\s*(?:so |very |really |truly )?(?:sorry|afraid)|"
    r"i apologi[sz]e|my apologies|apologies|unfortunately|regrettably)"
)
_FILLER = r"(?:[,.:;!–—-]|\s|but|however|that|for any inconvenience)*"
_OPENINGS = (
    # English
    rf"(?:{_SORRY}{_FILLER})?(?:i|we)\s?{_CANNOT}\s(?:\w+ ){{0,2}}?{_ENGLISH_VERBS}\b",
    rf"{_SORRY}{_FILLER}(?:i|we)\s?(?:can't|cannot|can not|won't|will not)\s?[.!]",
    rf"{_SORRY}{_FILLER}(?:as an ai\b|(?:this|that|it) (?:is|goes) "
    r"(?:against|outside|beyond))",
    rf"(?:i|we)(?: must| have to|'ll have to| will have to)? "
    r"(?:respectfully )?(?:decline|refuse)\b",
    r"as an? (?:\w+ )?(?:ai|artificial intelligence|language model)\b[^.!?\n]{0,80}?"
    r"\b(?:can't|cannot|can not|don't|do not|am unable|'m unable|am not able|'m not able|won't|"
    r"not allowed|not permitted|not designed)\b",
    r"(?:i'm|i am) (?:just |only )?an? (?:\w+ )?(?:ai|language model)\b[^.!?\n]{0,60}?"
    r"\b(?:can't|cannot|don't|do not|unable|not able|won't)\b",
    r"(?:it|that|this) (?:is|would be) (?:against|outside|beyond) my "
    r"(?:guidelines|programming|policy|policies|scope|capabilities)",
    # German
    r"(?:(?:es tut mir (?:sehr )?leid|tut mir leid|entschuldigung|entschuldigen sie|leider)"
    r"[,.:;! –—-]*(?:aber |doch |dass )?)?(?:das |dabei |dazu |hierbei |da |hier )?"
    r"(?:kann|darf|werde|könnte) ich (?:(?!ihnen sagen)[^.!?\n]){0,60}?"
    r"(?:nicht|keine[nrms]?)\s(?:[^.!?\n]{0,60}?)"
    r"(?:helfen|weiterhelfen|behilflich|unterstützen|beantworten|geben|bereitstellen|erfüllen|"
    r"nachkommen|schreiben|erstellen|sagen|tun|machen|beraten)\b",
    r"(?:es tut mir (?:sehr )?leid|tut mir leid|entschuldigung)[,.:;! –—-]*(?:aber |doch )?"
    r"ich (?:kann|darf|werde)\b[^.!?\n]{0,80}?\b(?:nicht|keine[nrms]?)\b[^.!?\n]{0,60}?"
    r"(?:helfen|weiterhelfen|behilflich|unterstützen|beantworten|geben|bereitstellen|erfüllen|"
    r"nachkommen|schreiben|erstellen|tun|machen|beraten)\b",
    r"ich (?:kann|darf|werde) (?:ihnen |dir |euch )?(?:leider )?(?:dabei |damit |hierbei |dazu )?"
    r"(?:leider )?(?:nicht|keine[nrms]?) (?:[^.!?\n]{0,40}?)"
    r"(?:helfen|weiterhelfen|behilflich|unterstützen|beantworten|geben|bereitstellen)\b",
    r"als (?:ein )?(?:ki|künstliche intelligenz|sprachmodell|ki-\w+)\b[^.!?\n]{0,80}?"
    r"\b(?:nicht|keine[nrms]?)\b",
    # French
    r"(?:(?:(?:je suis |je )?(?:vraiment )?(?:désolée?|navrée?)|(?:je m'|veuillez m'|je vous prie "
    r"de m')?excuse[zr]?(?:-moi)?|malheureusement)[,.:;! –—-]*(?:mais )?)?"
    r"je (?:ne (?:peux|puis|pourrai|suis) (?:malheureusement )?pas|ne peux malheureusement|"
    r"n'ai pas (?:le droit|la possibilité))\b[^.!?\n]{0,30}?"
    r"\b(?:aider|assister|répondre|fournir|donner|discuter|faire|en mesure|"
    r"autorisée?|satisfaire|créer|écrire|rédiger)\b",
    r"en tant qu'(?:ia|intelligence artificielle|assistant|modèle)\b[^.!?\n]{0,80}?"
    r"\bn(?:e |')\w+ (?:\w+ )?pas\b",
    # Spanish
    r"(?:(?:lo siento|lo lamento|perd[oó]n|disculp[ae]n?|lamentablemente|"
    r"desafortunadamente)(?: mucho)?[,.:;! –—-]*(?:pero )?)?"
    r"no (?:puedo|podemos|podr[ée]|me es posible|me est[áa] permitido|estoy autorizad[oa])"
    r"\b[^.!?\n]{0,30}?(?:ayudar|asistir|responder|proporcionar|dar|hablar|hacer|cumplir|crear|"
    r"escribir|generar|ofrecer)",
    r"como (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje|asistente)\b"
    r"[^.!?\n]{0,80}?\bno (?:puedo|tengo|soy|estoy)\b",
)  # fmt: skip
_REFUSAL = re.compile("|".join(f"(?:{opening})" for opening in _OPENINGS))
_BEFORE = re.compile(r"^[\W_]+")
_GREETING = re.compile(r"^(?:hello|hi|dear customer|hallo|bonjour|hola|thank you for [^.!?,]{0,60})"
                       r"[,.!]\s*")  # fmt: skip


def is_refusal(answer: str) -> bool:
    """Return whether an answer begins by declining what was asked."""
    start = unicodedata.normalize("NFKC", answer[:_READ]).casefold()
    start = " ".join(start.replace("’", "'").replace("`", "'").split())
    start = _GREETING.sub("", _BEFORE.sub("", start))
    return _REFUSAL.match(start) is not None
