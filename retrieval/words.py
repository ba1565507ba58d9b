"""English as data: what words mean the same, exclude one another, deny, or say nothing.

Lists, not judgement: `retrieval.terms` reads sentences with them. Other languages have their
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
    "der das ein eine einer eines und oder ist sind waren wird werden von zu mit auf "
    "für im am dem den des es sie er wir ihr auch "
    "le la les un une des et ou est sont de du au aux dans pour avec sur il elle ils "
    "el los las una y o es del en con por que"
)

DENY = _set(
    "not no never none neither nor without cannot nobody nothing nowhere hardly rarely lack lacks "
    "nicht kein keine keinen ohne nie pas jamais sans sin nunca"
)

HEDGE = _set(
    "previously formerly originally until till unless except planned proposed expected rumored "
    "rumoured deprecated hypothetical maybe perhaps possibly allegedly reportedly "
    "if outdated obsolete retired discontinued respectively"
)
"""Words of a condition or another time: what the sentence says does not hold as it stands."""

CONTRAST = _set("unlike instead rather besides")
"""Words that begin a clause about what is not so."""

MAYBE = _set("if maybe perhaps possibly may expected")
"""Words that make a claim weaker than its evidence, which is no contradiction."""

BREAKS = (
    _set("and but while whereas or although though however because unless if und oder aber")
    | CONTRAST
)
JOINS = _set("and or und oder ,")
"""Breaks that may also join two words of one clause ("Linux and macOS")."""

DIRECTIONS = _set("to from by into than after before against with without since until")
"""Prepositions that decide who does what to whom."""

LIGHT = _set(
    "total overall call follow describe refer general generally usual usually typical typically "
    "simply take create work provide offer record indeed additional"
)
"""Words that a claim may have and its evidence lack: they add nothing."""

PRONOUNS = _set("it its he she they his her their")

WEEKDAYS = _set("monday tuesday wednesday thursday friday saturday sunday")

CURRENCIES = _set("usd eur gbp jpy chf")

BOUNDS_BEFORE = {
    "at least": ">", "at most": "<", "up to": "<", "more than": ">", "less than": "<", "over": ">",
    "under": "<", "above": ">", "below": "<", "fewer than": "<", "older than": ">",
    "newer than": "<", "minimum of": ">", "maximum of": "<", "longer than": ">",
    "larger than": ">", "bigger than": ">", "greater than": ">", "higher than": ">",
    "heavier than": ">", "later than": ">", "shorter than": "<", "smaller than": "<",
    "lower than": "<", "lighter than": "<", "earlier than": "<", "younger than": "<",
}  # fmt: skip
"""What stands before a number that is a limit."""

BOUNDS_AFTER = {
    "newer": ">", "more": ">", "later": ">", "above": ">", "higher": ">", "older": "<",
    "less": "<", "fewer": "<", "earlier": "<", "below": "<", "lower": "<",
}  # fmt: skip
"""What stands after it, behind "or"."""

OPPOSITES = {
    "unavailable": "available", "unsupported": "support", "unable": "able", "disabled": "enable",
    "disable": "enable", "disables": "enable", "disallowed": "allow", "impossible": "possible",
    "invalid": "valid", "inactive": "active", "unencrypted": "encrypt", "unlimited": "limit",
    "incompatible": "compatible", "forbidden": "allow", "prohibited": "allow", "forbids": "allow",
    "prohibits": "allow", "banned": "allow", "excluded": "include", "excludes": "include",
    "excluding": "include", "closed": "open", "unsafe": "safe", "illegal": "legal",
    "insecure": "secure", "unpaid": "pay", "offline": "online", "optional": "require",
    "nonrefundable": "refundable", "ineligible": "eligible", "rejected": "accept",
    "rejects": "accept", "refuses": "accept", "refused": "accept", "denied": "allow",
    "denies": "allow", "fails": "succeed", "failed": "succeed",
}  # fmt: skip
"""Words that deny another one."""

SAME = tuple(
    _list(group)
    for group in (
        "cost price fee charge pay", "start begin commence", "end finish", "buy purchase",
        "phone telephone", "max maximum", "min minimum", "allow permit", "require need",
        "employee staff", "big large", "fast quick rapid", "job position", "run operate",
        "locate situate", "create make", "call name", "support help", "include contain",
        "lead head manage", "headquarter hq", "use utilize utilise", "change modify alter",
        "delete remove", "choose select pick", "show display",
    )
)  # fmt: skip
"""Words that stand for one another; the first stands for all."""

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
    _set(group)
    for group in (
        "second minute hour day week month quarter year",
        "kilobyte megabyte gigabyte terabyte petabyte", "mm cm km mile",
        "north south east west", "northern southern eastern western",
        "red green blue yellow black white orange purple",
        "minimum maximum", "least most", "before after", "above below", "more less few",
        "first last", "increase decrease", "rise fall", "open close", "start end", "buy sell",
        "inbound outbound", "public private", "free cost", "upper lower", "left right",
        "tcp udp", "http https", "celsius fahrenheit", "old new", "enable disable",
        "daily weekly monthly yearly annual", "front rear", "summer winter spring autumn",
        "newer older", "over under", "with without",
    )
)  # fmt: skip
"""Words of which one excludes the others: a sentence with another one says something else."""

NUMBERS = {
    word: number
    for number, word in enumerate(
        _list(
            "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
            "fifteen sixteen seventeen eighteen nineteen twenty"
        )
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
