"""English as data: what words mean the same, exclude one another, deny, or say nothing.

Lists, not judgement: `retrieval.statements` reads sentences with them. Other languages have their
words compared as they stand.
"""


def _list(words: str) -> list[str]:
    return words.split()


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


STOP = _set(
    "a an the this that these those there here it its itself he him his she her hers they them "
    "their theirs we us our ours you your yours i me my mine who whom whose which what when where "
    "why how is are was were be been being am do does did done doing have has had having will "
    "would shall should can could may might must of in on at by for from to into onto with within "
    "about as and or but if then than so such also too very just yet however therefore thus hence "
    "because since while whereas although though during through via per each any some both either "
    "one ones s t re ve ll d e.g i.e etc please let know tell give find see get got "
    "according based given provided mentioned stated states state document documents passage "
    "passages source sources information text context answer question following below "
    "currently now today well really actually exactly respectively only yes sure okay same "
    "approximately about roughly around long many much located out up more less least most over "
    "under above below "
    "der die das ein eine einer eines und oder ist sind war waren wird werden von zu mit auf "
    "für im am dem den des es sie er wir ihr auch "
    "le la les un une des et ou est sont de du au aux dans pour avec sur il elle ils "
    "el los las una y o es son del en con por para que"
)

DENY = _set(
    "not no never none neither nor without cannot nobody nothing nowhere hardly rarely lack lacks "
    "nicht kein keine keinen ohne nie pas jamais sans sin nunca"
)

HEDGE = _set(
    "previously formerly originally until till unless except planned proposed expected rumored "
    "rumoured deprecated hypothetical maybe perhaps possibly allegedly reportedly "
    "if outdated obsolete retired discontinued"
)

BREAKS = _set("and but while whereas or although though however because unless if")

PRONOUNS = _set("it its he she they his her their")

WEEKDAYS = _set("monday tuesday wednesday thursday friday saturday sunday")

CURRENCIES = _set("usd eur gbp jpy chf")

BOUNDS_BEFORE = {
    "at least": ">", "at most": "<", "up to": "<", "more than": ">", "less than": "<", "over": ">",
    "under": "<", "above": ">", "below": "<", "fewer than": "<", "older than": ">",
    "newer than": "<", "no more": "<", "minimum of": ">", "maximum of": "<",
}  # fmt: skip
"""What stands before a number that is a limit."""

BOUNDS_AFTER = {
    "newer": ">", "more": ">", "later": ">", "above": ">", "higher": ">", "older": "<",
    "less": "<", "fewer": "<", "earlier": "<", "below": "<", "lower": "<",
}  # fmt: skip
"""What stands after it, behind "or"."""

OPPOSITES = {
    "unavailable": "available", "unsupported": "support", "unable": "able", "disabled": "enabl",
    "disable": "enabl", "disables": "enabl", "disallowed": "allow", "impossible": "possibl",
    "invalid": "valid", "inactive": "activ", "unencrypted": "encrypt", "unlimited": "limit",
    "incompatible": "compatibl", "forbidden": "allow", "prohibited": "allow", "forbids": "allow",
    "prohibits": "allow", "banned": "allow", "excluded": "includ", "excludes": "includ",
    "excluding": "includ", "closed": "open", "unsafe": "safe", "illegal": "legal",
    "insecure": "secur", "unpaid": "paid", "offline": "onlin", "optional": "requir",
    "nonrefundable": "refundabl", "ineligible": "eligibl", "rejected": "accept",
    "rejects": "accept", "refuses": "accept", "refused": "accept", "denied": "allow",
    "denies": "allow", "fails": "succeed", "failed": "succeed",
}  # fmt: skip
"""Words that deny another one, with that one's stem."""

_SAME = (
    "cost price pric fee charg pay paid", "start begin commenc", "end finish",
    "buy purchas", "phone telephon", "max maximum", "min minimum", "allow permit",
    "need requir", "employee staff", "big larg", "fast quick rapid", "job position",
    "run operat", "locat situat", "creat mak made", "found establish", "call nam",
    "support help", "contain includ", "lead head manag", "headquart hq", "us use utiliz util",
    "say said", "modifi chang alter", "delet remov", "choos select pick", "show display",
)  # fmt: skip
SAME = {word: group.split()[0] for group in _SAME for word in group.split()}
"""Stems that stand for one another, with the one that stands for all."""

IRREGULAR = {
    "began": "begin", "begun": "begin", "bought": "buy", "sold": "sell", "built": "build",
    "held": "hold", "ran": "run", "took": "take", "taken": "take", "went": "go", "gone": "go",
    "sent": "send", "written": "write", "won": "win", "grew": "grow",
    "kept": "keep", "became": "become", "came": "come", "chosen": "choose", "chose": "choose",
    "led": "lead", "fell": "fall", "fallen": "fall", "risen": "rise", "wrote": "write",
    "gave": "give", "given": "give", "found": "find", "shown": "show", "known": "know",
    "beaten": "beat", "paid": "pay", "made": "make", "done": "do",
    "lost": "lose", "met": "meet", "rose": "rise", "spoke": "speak",
    "children": "child", "people": "person", "men": "man", "women": "woman", "has": "have",
    "lies": "lie", "died": "die", "born": "birth", "children's": "child",
}  # fmt: skip

EXCLUSIVE = tuple(
    frozenset(group.split())
    for group in (
        "second minut hour day week month quarter year",
        "monday tuesday wednesday thursday friday saturday sunday",
        "january february march april june july august september october november december",
        "usd eur gbp jpy chf", "kb mb gb tb pb", "mm cm km mil",
        "north south east west northern southern eastern western",
        "red green blu yellow black whit orang purpl",
        "min max", "least most", "befor after", "abov below", "mor less few", "first last",
        "increas decreas", "rise fall", "open clos", "start end", "buy sell",
        "inbound outbound", "public privat", "free cost", "upper lower", "left right",
        "tcp udp", "http https", "celsiu fahrenheit", "am pm", "old new", "enabl disabl",
        "daily weekly monthly yearly annual", "front rear", "summer winter spring autumn",
        "newer older", "over under", "with without", "free cost",
    )
)  # fmt: skip
"""Stems of which one excludes the others: a sentence with another one says something else."""

NUMBERS = {
    word: number
    for number, word in enumerate(
        _list("zero one two three four five six seven eight nine ten eleven twelve "
                "thirteen fourteen "
        "fifteen sixteen seventeen eighteen nineteen twenty")
    )
    if word != "one"
} | {
    "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "once": 1,
    "ninety": 90, "dozen": 12, "twice": 2,
}  # fmt: skip

SCALES = {
    "thousand": 1e3, "million": 1e6, "billion": 1e9, "trillion": 1e12, "hundred": 1e2,
    "k": 1e3, "m": 1e6, "bn": 1e9, "mio": 1e6,
}  # fmt: skip

MONTHS = {
    name: place // 2 + 1
    for place, name in enumerate(
        _list(
            "january jan february feb march mar april apr may may june jun july jul august aug "
            "september sep october oct november nov december dec"
        )
    )
} | {"sept": 9}

UNITS = {
    word: group.split()[0]
    for group in (
        "usd $ dollar dollars", "eur € euro euros", "gbp £ pound pounds", "jpy ¥ yen", "chf francs",
        "pct % percent percentage", "s sec secs second seconds", "min mins minute minutes",
        "h hr hrs hour hours", "day days d", "week weeks", "month months", "year years yr yrs",
        "ms millisecond milliseconds", "b byte bytes", "kb kilobyte kilobytes kib",
        "mb megabyte megabytes mib", "gb gigabyte gigabytes gib", "tb terabyte terabytes tib",
        "m meter meters metre metres", "km kilometer kilometers kilometre kilometres", "cm", "mm",
        "mile miles mi", "kg kilogram kilograms", "g gram grams", "lb lbs", "w watt watts",
        "kw kilowatt kilowatts", "mw", "v volt volts", "hz", "mhz", "ghz",
        "c celsius", "f fahrenheit",
        "l liter liters litre litres", "ml", "mph", "rpm",
    )
    for word in group.split()
}  # fmt: skip
"""Words of units, with the one that stands for the unit."""
