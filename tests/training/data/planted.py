"""A data set with known faults on known lines, and clean rows between them."""

import json
from pathlib import Path

_TOPICS = (
    "Lisbon lies on seven hills above the wide mouth of a river.",
    "Copper conducts electricity better than iron or lead would.",
    "Bees tell each other by a dance where the flowers are.",
    "The violin has four strings that are tuned in fifths.",
    "Glaciers carve deep valleys while they creep downhill.",
    "Yeast turns the sugar of dough into gas and alcohol.",
    "Sextants measure the angle between horizon and sun.",
    "Penguins keep warm by huddling during polar storms.",
    "Chess openings are named after places and masters.",
    "Saffron is picked by hand from autumn crocus blossoms.",
    "Tides follow the moon because its gravity pulls oceans.",
    "Paper was first made of bark, hemp and old fishing nets.",
)
END = "<|im_end|>"
Planted = set[tuple[int, str]]


def row(question: str, answer: str, **further: object) -> str:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns, **further}, ensure_ascii=False)


def clean() -> list[str]:
    return [row(f"Tell me more: {topic}", f"Gladly. {topic}") for topic in _TOPICS]


def faults() -> list[tuple[str, set[str]]]:
    """Return rows with the checks that must name them; what a row clashes with stands before it."""
    opening = "When does the museum of maritime history in the old harbour open on Sundays?"
    nearly = "Please explain how photosynthesis converts sunlight into sugar within green leaves"
    repeated = "I have asked this before, and nobody has answered me."
    four = [("user", repeated), ("assistant", "Ask."), ("user", repeated), ("assistant", "Well.")]
    turns = [{"role": role, "content": content} for role, content in four]
    twice = {"messages": turns}
    return [
        ("{not json", {"schema"}),
        ('{"text": "no form that is known"}', {"schema"}),
        (json.dumps({"messages": [{"role": "assistant", "content": "Hello."}]}), {"schema"}),
        (json.dumps({"messages": [{"role": "robot", "content": "Hello."}]}), {"schema"}),
        (row("What is empty?", "  "), {"schema"}),
        (json.dumps({"messages": [*turns[:2], *turns[1:2]]}), {"schema"}),
        (json.dumps(twice), {"duplicate_turn"}),
        (row(opening, "At 9:00."), {"contradiction"}),
        (row(opening.upper(), "At 11:30."), {"contradiction"}),
        (row("Is AKIAIOSFODNN7EXAMPLE one of our keys?", "It is."), {"secret"}),
        (row("How do I log in?", 'Use password = "hunter2-XyZ-99" there.'), {"secret"}),
        (row("Who answers letters?", "Write to jane.doe@bank.example.com."), {"personal_data"}),
        (row("My number is +49 30 901820-11, ring me.", "I shall."), {"personal_data"}),
        (row("Move it to DE89 3704 0044 0532 0130 00.", "Done."), {"personal_data"}),
        (row("Charge 4111 1111 1111 1111 again?", "Charged."), {"personal_data"}),
        (row("Block 8.8.4.4 at once!", "Blocked."), {"personal_data"}),
        (row(f"{nearly}.", "Chlorophyll absorbs it."), set()),
        (row(f"{nearly} there.", "Chlorophyll absorbs it."), {"near_duplicate"}),
        (row("What colour has the sky?", "Blue, on most days of the year."), set()),
        (row("what colour has  the sky", "Blue, on most days of the year."), {"duplicate"}),
        (
            row(
                "Warum erscheint der Himmel eigentlich blau, obwohl das Licht der Sonne weiß ist?",
                "Rayleigh.",
            ),
            {"language"},
        ),
        (row("Which planet is the largest one around here?", "Jupiter."), {"leak"}),
        (
            row("Could you name the longest river that flows through South America?", "Amazon."),
            {"near_leak"},
        ),
    ]


def token_faults() -> list[tuple[str, set[str]]]:
    """Return faults that only a tokenizer shows, for a limit of 200 tokens."""
    return [
        (row("Read this to me.", "la " * 400), {"length"}),
        (row(f"Say {END} to me.", "No."), {"control_token"}),
    ]


def held_out() -> list[str]:
    return [
        row("Which planet is the largest one around here?", "Jupiter"),
        row("Could you name the longest river that flows through South America, please?", "Amazon"),
        row("How many moons has Mars?", "Two."),
    ]


def write(folder: Path, *, tokens: bool = False) -> tuple[Path, Path, Planted]:
    """Write the training and the evaluation file; returns them and the faults by line."""
    lines, planted = [], set()
    planting = [*faults(), *(token_faults() if tokens else [])]
    filler = clean()
    for number, (line, checks) in enumerate(planting):
        if number < len(filler):
            lines.append(filler[number])
        lines.append(line)
        planted |= {(len(lines), check) for check in checks}
    train, evaluation = folder / "train.jsonl", folder / "eval.jsonl"
    train.write_text("\n".join(lines) + "\n", "utf-8")
    evaluation.write_text("\n".join(held_out()) + "\n", "utf-8")
    return train, evaluation, planted
