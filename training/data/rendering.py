"""What the trainer will see of each row: its tokens, those in the loss, and how it ends."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.examples import Example
from training.data.findings import Finding
from training.data.masking import TokenizerError, end_tokens, load_tokenizer, render
from training.data.source import Progress, silent


@dataclass(frozen=True, slots=True)
class Rendered:
    """One row in tokens.

    Args:
        line: Its line in the file.
        tokens: Tokens of the whole conversation.
        trained: Those on which the loss is taken.
        ends: Whether the last of these is an end-of-turn token.
        control: The template's own tokens, such as `<|im_end|>`, that stand in a text of the row.
    """

    line: int
    tokens: int
    trained: int
    ends: bool
    control: tuple[str, ...] = ()


def render_all(
    folder: Path, examples: Sequence[Example], on_progress: Progress = silent
) -> tuple[list[Rendered], list[Finding]]:
    """Render every row with the tokenizer of a model's folder.

    Returns:
        What became of the rows, and findings about those that the template refuses.

    Raises:
        TokenizerError: The folder has no usable tokenizer.
    """
    tokenizer = load_tokenizer(folder)
    # A row that is too long is found here, so the tokenizer's own warning of it says nothing new.
    tokenizer.model_max_length = int(1e30)
    ends = end_tokens(tokenizer, folder)
    control = _control_tokens(tokenizer)
    rendered: list[Rendered] = []
    refused: list[Finding] = []
    for number, example in enumerate(examples):
        if number % 500 == 0:
            on_progress("tokens", number, len(examples))
        try:
            ids, mask = render(tokenizer, example.messages)
        except TokenizerError as error:
            refused.append(Finding(example.line, "template", "error", f"{error}", "drop"))
            continue
        trained = [token for token, inside in zip(ids, mask, strict=True) if inside]
        ended = bool(trained) and trained[-1] in ends
        found = tuple(t for t in control if any(t in m.content for m in example.messages))
        rendered.append(Rendered(example.line, len(ids), len(trained), ended, found))
    on_progress("tokens", len(examples), len(examples))
    return rendered, refused


def _control_tokens(tokenizer: Any) -> list[str]:
    added = tokenizer.added_tokens_decoder.values()
    # A word that happens to be special is no control token: those are set in marks.
    return sorted({str(t) for t in added if t.special and not str(t).isalnum()})
