from pathlib import Path

import pytest

from gateway.store.examples import Example, Message
from tests.training.data.conftest import CHATML, save_tokenizer
from training.data.checks.end_of_turn import control_tokens, end_of_turn
from training.data.checks.lengths import lengths
from training.data.checks.loss_share import loss_share
from training.data.checks.template import same_template
from training.data.rendering import Rendered, render_all


def example(line: int, *turns: str) -> Example:
    roles = ("user", "assistant") * len(turns)
    return Example(tuple(Message(r, t) for r, t in zip(roles, turns, strict=False)), line)


def test_a_template_without_end_of_turn_is_one_error_that_forbids(tmp_path: Path) -> None:
    endless = CHATML.replace("+ '<|im_end|>\n'", "+ '\n'")
    rows, refused = render_all(
        save_tokenizer(tmp_path, endless), [example(n, "Hi", "Ho") for n in (1, 2)]
    )
    found = list(end_of_turn(rows))
    assert refused == []
    assert [(f.line, f.forbids) for f in found] == [(0, True)]


def test_an_eos_token_that_the_template_does_not_use_is_found(tmp_path: Path) -> None:
    rows, _ = render_all(save_tokenizer(tmp_path, eos="<|stop|>"), [example(1, "Hi", "Ho")])
    assert [f.line for f in end_of_turn(rows)] == [0]


def test_rows_that_miss_their_end_of_turn_are_named(tmp_path: Path) -> None:
    # As templates do that end the turn only with the next one: single answers stay open.
    open_ended = CHATML.replace(
        "'<|im_end|>\n' }}",
        "('' if loop.last and messages | length == 2 else '<|im_end|>\n') }}",
    )
    rows, _ = render_all(
        save_tokenizer(tmp_path, open_ended),
        [example(1, "Hi", "Ho", "Hm", "Ha"), example(2, "Hi", "Ho")],
    )
    assert [(f.line, f.severity, f.action) for f in end_of_turn(rows)] == [(2, "error", "drop")]


def test_rows_that_the_template_refuses_are_named(tmp_path: Path) -> None:
    strict = "{% if messages | length > 2 %}{{ raise_exception('one turn only') }}{% endif %}"
    rows, refused = render_all(
        save_tokenizer(tmp_path, strict + CHATML),
        [example(1, "Hi", "Ho"), example(2, "Hi", "Ho", "Hm", "Ha")],
    )
    assert [row.line for row in rows] == [1]
    assert [(f.line, f.check) for f in refused] == [(2, "template")]
    assert "one turn only" in refused[0].reason


def test_lengths_at_the_limit_are_fine() -> None:
    rows = [Rendered(1, 100, 5, True), Rendered(2, 101, 5, True)]
    found = list(lengths(rows, 100))
    assert [(f.line, f.severity) for f in found] == [(2, "error"), (0, "info")]
    assert "50.00% would be truncated at 100" in found[1].reason


@pytest.mark.parametrize(("trained", "severity"), [(50, "info"), (5, "warning")])
def test_the_share_of_trained_tokens_is_said(trained: int, severity: str) -> None:
    found = list(loss_share([Rendered(1, 1000, trained, True)]))
    assert [(f.line, f.severity) for f in found] == [(0, severity)]


def test_rows_without_trained_tokens_and_with_control_tokens_are_named() -> None:
    rows = [Rendered(1, 10, 0, False), Rendered(2, 10, 5, True, ("<|im_end|>",))]
    assert [f.line for f in loss_share(rows) if f.severity == "error"] == [1]
    assert [(f.line, f.action) for f in control_tokens(rows)] == [(2, "quarantine")]


def test_template_of_training_and_serving_are_compared(
    tokenizer_folder: Path, tmp_path: Path
) -> None:
    assert list(same_template(tokenizer_folder, tokenizer_folder)) == []
    other = save_tokenizer(tmp_path, CHATML.replace("assistant", "bot"), eos="<|stop|>")
    found = list(same_template(tokenizer_folder, other))
    assert all(f.forbids for f in found)
    told = " ".join(f.reason for f in found)
    for what in (
        "chat templates differ",
        "vocabularies differ",
        "stop at different",
        "`eos_token`",
    ):
        assert what in told
