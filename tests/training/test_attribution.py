"""Which part is at fault: the verdict of a replay, with answers that are made up here."""

from collections.abc import Callable, Sequence

import pytest

from gateway.store.examples import Example, Message
from monitoring.probes import Probe
from training.asking import Asked, Question
from training.attribution import Attribution, Case, attribute, cases, limits
from training.data.collecting import Collected, Parent
from training.loop import Replay

Says = Callable[[str, str, str | None], str]


def row(question: str, answer: str) -> Example:
    return Example((Message("user", question), Message("assistant", answer)), source=question)


def asked(new: int, old: int) -> list[Case]:
    return [
        *(Case(row(f"new {n}", f"answer {n}"), "new") for n in range(new)),
        *(Case(row(f"old {n}", f"answer {n}"), "old") for n in range(old)),
    ]


class Stub:
    """Answers as `says` does: release, question, retrieval; `!` is no answer."""

    def __init__(self, says: Says) -> None:
        self._says = says

    def ask_many(self, questions: Sequence[Question], concurrency: int = 4) -> list[Asked]:
        said = [self._says(q.model, q.messages[-1]["content"], q.retrieval) for q in questions]
        return [
            Asked("", 503, None, 0.1, error="http 503")
            if text == "!"
            else Asked(text, 200, "serving", 0.1)
            for text in said
        ]


def found(
    says: Says,
    new: int = 40,
    old: int = 40,
    *,
    base: str | None = None,
    documents: bool = True,
    rows: int = 100,
    harmed: bool = False,
    forced: bool = False,
    settings: Replay = Replay(),  # noqa: B008 - it is frozen
) -> Attribution:
    return attribute(
        Stub(says), asked(new, old), settings, serving="serving", base=base, documents=documents,
        rows=rows, least_rows=50, harmed=harmed, forced=forced,
    )  # fmt: skip


def right(question: str) -> str:
    return f"The answer {question.split()[1]} [1]."


def grounded_only(release: str, question: str, retrieval: str | None) -> str:
    return right(question) if "old" in question or retrieval == "always" else "no idea"


def never(release: str, question: str, retrieval: str | None) -> str:
    return right(question) if "old" in question else "no idea"


def test_documents_bring_it_back() -> None:
    told = found(grounded_only, new=60)
    assert (told.verdict, told.conclusive) == ("index", True)
    assert told.reference == 1.0
    assert told.p_retrieval is not None
    assert told.p_retrieval < 0.001
    few = found(grounded_only, new=40)  # 40 of 40 do not show 95 %
    assert (few.verdict, few.conclusive) == ("index", False)
    assert told.cases == {"new": 60, "old": 40}
    cells = {(c.role, c.retrieval, c.slice): (c.right, c.n) for c in told.table}
    assert cells == {
        ("serving", "off", "new"): (0, 60),
        ("serving", "off", "old"): (40, 40),
        ("serving", "on", "new"): (60, 60),
        ("serving", "on", "old"): (40, 40),
    }


def test_documents_do_not_bring_it_back() -> None:
    told = found(never)
    assert (told.verdict, told.conclusive) == ("train", True)
    assert "Documents do not bring it back" in told.reason
    assert found(never, documents=False).verdict == "train"


def test_training_needs_rows() -> None:
    told = found(never, rows=10)
    assert told.verdict == "neither"
    assert "10 rows to learn from, and 50 are needed" in told.reason


def test_nothing_is_worse() -> None:
    told = found(lambda release, question, _: right(question), new=100)
    assert (told.verdict, told.conclusive) == ("neither", True)
    assert "Nothing is worse" in told.reason


def test_somebody_who_wants_a_release_gets_one_all_the_same() -> None:
    told = found(grounded_only, forced=True)
    assert told.verdict == "train"
    assert "trained all the same" in told.reason
    assert found(grounded_only, forced=True, rows=3).verdict == "index"


def test_documents_that_are_a_bridge_are_learnt_where_there_are_rows() -> None:
    bridge = Replay(documents="bridge")
    told = found(grounded_only, settings=bridge)
    assert told.verdict == "train"
    assert "a bridge here" in told.reason
    assert found(grounded_only, settings=bridge, rows=3).verdict == "index"
    nothing_wrong = found(lambda _, question, __: right(question), new=100, settings=bridge)
    assert nothing_wrong.verdict == "neither"


def half(release: str, question: str, retrieval: str | None) -> str:
    """A little worse on what drifted, a little less so with documents: nothing is shown of 6."""
    number = int(question.split()[1])
    wrong = "new" in question and number < (0 if retrieval == "always" else 1)
    return "no idea" if wrong else right(question)


def test_what_is_not_shown_trains_only_where_harm_was() -> None:
    told = found(half, new=6, old=6)
    assert (told.verdict, told.conclusive) == ("neither", False)
    assert "more cases are needed" in told.reason
    told = found(half, new=6, old=6, harmed=True)
    assert (told.verdict, told.conclusive) == ("train", False)
    assert "harm was shown" in told.reason


def test_nothing_to_ask_trains_only_where_harm_was() -> None:
    assert found(never, new=0, old=5).verdict == "neither"
    assert found(never, new=0, old=5, harmed=True).verdict == "train"


def test_failed_requests_are_no_answers() -> None:
    told = found(lambda *_: "!", harmed=True)
    assert (told.verdict, told.conclusive) == ("train", False)
    assert {cell.failed for cell in told.table} == {40}
    assert "no question was answered" in told.reason


def test_the_base_is_asked_where_it_is_served() -> None:
    told = found(lambda release, q, r: "?" if release == "base" else never(release, q, r),
                 base="base")  # fmt: skip
    assert {(c.release, c.role, c.retrieval) for c in told.table} == {
        ("serving", "serving", "off"), ("serving", "serving", "on"),
        ("base", "base", "off"), ("base", "base", "on"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expected", "answer", "is_right"),
    [
        ("card_arrival", "card_arrival", True),
        ("Two days", "It takes two days [1][2], usually.", True),
        ("two", "twofold", False),
        ("10", "It is 100.", False),
        ('{"a": 1}', '{"a":1.0}', True),
        ('{"a": 1}', 'It is {"a": 1}.', False),
        ("two days", "", False),
    ],
)
def test_when_an_answer_is_right(expected: str, answer: str, is_right: bool) -> None:
    assert Case(row("q", expected), "new").right(answer) is is_right


def test_questions_are_balanced_and_always_the_same() -> None:
    probe = Probe("p1", ({"role": "user", "content": "golden"},), "yes", "exact")
    collected = Collected(
        new=tuple(row(f"n{n}", "x") for n in range(100)),
        good=tuple(row(f"g{n}", "x") for n in range(100)),
        parent=Parent("m-1", valid=tuple(row(f"v{n}", "x") for n in range(100))),
        golden=(probe,),
    )
    chosen = cases(collected, 20, seed=1)
    assert chosen == cases(collected, 20, seed=1) != cases(collected, 20, seed=2)
    assert [case.slice for case in chosen] == ["new"] * 10 + ["old"] * 10
    assert chosen[10].row.question == "golden"
    assert all(case.row.question.startswith("v") for case in chosen[11:])
    few = Collected(new=(row("n", "x"),), good=(row("g", "x"),))
    assert [case.row.question for case in cases(few, 20, seed=1)] == ["n", "g"]


def test_questions_that_documents_failed_at_are_asked_only_where_others_are_missing() -> None:
    """They were corrected because documents did not help: those that did are not among them."""
    plain = tuple(row(f"plain {n}", "x") for n in range(30))
    grounded = tuple(row(f"grounded {n}", "x") for n in range(300))
    sources = frozenset(each.source for each in grounded)

    def asked_of(known: int, most: int = 40) -> list[str]:
        collected = Collected(new=(*plain[:known], *grounded), grounded=sources)
        chosen = [case.row.question.split()[0] for case in cases(collected, most, seed=3)]
        return sorted(chosen)

    assert asked_of(30) == ["plain"] * 20
    assert asked_of(14) == ["plain"] * 14
    assert asked_of(5) == ["grounded"] * 7 + ["plain"] * 5
    assert asked_of(2, most=10) == ["grounded"] * 3 + ["plain"] * 2


def test_exact_limits_of_a_rate() -> None:
    assert limits(0, 0, 0.05) == (0.0, 1.0)
    low, high = limits(10, 10, 0.05)
    assert low == pytest.approx(0.05**0.1)
    assert high == 1.0
    assert limits(0, 10, 0.05)[1] == pytest.approx(1 - 0.05**0.1)
