from pathlib import Path
from typing import Any

import pytest

from gateway.store.examples import Message
from tests.training.data.conftest import CHATML, save_tokenizer
from training.data.masking import (
    TokenizerError,
    end_tokens,
    load_tokenizer,
    render,
    template_digest,
    tokenizer_digest,
)

TURNS = (
    Message("system", "Be kind."),
    Message("user", "Hi there"),
    Message("assistant", "Hello!"),
    Message("user", "Bye"),
    Message("assistant", "See you."),
)


def trained(tokenizer: Any, messages: tuple[Message, ...]) -> str:
    ids, mask = render(tokenizer, messages)
    assert len(ids) == len(mask)
    kept = [token for token, inside in zip(ids, mask, strict=True) if inside]
    text: str = tokenizer.decode(kept)
    return text


def test_answers_are_trained_with_their_end_of_turn(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    assert trained(tokenizer, TURNS) == "Hello!<|im_end|>See you.<|im_end|>"
    ids, _ = render(tokenizer, TURNS)
    turns = [message.as_dict() for message in TURNS]
    assert ids == tokenizer.apply_chat_template(turns, return_dict=False)


def test_an_answer_of_the_prompts_words_is_found_where_it_stands(tokenizer_folder: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    echo = (Message("user", "Echo Echo"), Message("assistant", "Echo"))
    ids, mask = render(tokenizer, echo)
    assert trained(tokenizer, echo) == "Echo<|im_end|>"
    assert mask.index(1) > ids.index(tokenizer.convert_tokens_to_ids("<|im_end|>"))


def test_markers_of_a_template_decide(tmp_path: Path) -> None:
    marked = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% if m['role'] == 'assistant' %}"
        "{%- generation %}{{ m['content'] }}<|im_end|>{% endgeneration %}{% else %}"
        "{{ m['content'] }}<|im_end|>{% endif %}{% endfor %}"
    )
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, marked))
    assert trained(tokenizer, TURNS) == "Hello!<|im_end|>See you.<|im_end|>"


def test_a_template_that_rewrites_earlier_turns_is_refused(tmp_path: Path) -> None:
    rewriting = "{{ messages | length }}" + CHATML
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, rewriting))
    with pytest.raises(TokenizerError, match="renders the first 2 turns differently"):
        render(tokenizer, TURNS)


def test_a_template_may_refuse_a_row(tmp_path: Path) -> None:
    strict = "{% if messages[0]['role'] == 'system' %}{{ raise_exception('no system') }}{% endif %}"
    tokenizer = load_tokenizer(save_tokenizer(tmp_path, strict + CHATML))
    with pytest.raises(TokenizerError, match="refuses this row: no system"):
        render(tokenizer, TURNS)
    assert trained(tokenizer, TURNS[1:3]) == "Hello!<|im_end|>"


def test_end_tokens_are_those_of_the_engine_too(tokenizer_folder: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tokenizer_folder)
    (tmp_path / "generation_config.json").write_text('{"eos_token_id": [7, 9]}')
    assert end_tokens(tokenizer, tmp_path) == {tokenizer.eos_token_id, 7, 9}


def test_digests_follow_the_template(tokenizer_folder: Path, tmp_path: Path) -> None:
    other = save_tokenizer(tmp_path, CHATML + " ")
    assert tokenizer_digest(other) != tokenizer_digest(tokenizer_folder)
    assert template_digest(load_tokenizer(other)) != template_digest(
        load_tokenizer(tokenizer_folder)
    )


def test_a_folder_without_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match="there is no such folder"):
        load_tokenizer(tmp_path / "none")
    with pytest.raises(TokenizerError, match=f"{tmp_path}: there is no tokenizer in it"):
        load_tokenizer(tmp_path)


def test_a_broken_tokenizer_is_named(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("cut off")
    config = '{"tokenizer_class": "PreTrainedTokenizerFast"}'
    for broken in (config, "cut off"):
        (tmp_path / "tokenizer_config.json").write_text(broken)
        with pytest.raises(TokenizerError, match=f"{tmp_path}: its tokenizer cannot be loaded"):
            load_tokenizer(tmp_path)


@pytest.mark.train
def test_smollm_ends_its_turns(smollm: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = load_tokenizer(smollm)
    assert trained(tokenizer, TURNS) == "Hello!<|im_end|>See you.<|im_end|>"
    # The trainer loads it with AutoTokenizer.
    assert render(AutoTokenizer.from_pretrained(smollm), TURNS) == render(tokenizer, TURNS)
