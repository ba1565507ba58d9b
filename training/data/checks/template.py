"""Training and serving must turn a conversation into the same tokens."""

from collections.abc import Iterator
from pathlib import Path

from training.data.findings import Finding
from training.data.masking import end_tokens, load_tokenizer, template_digest

CHECK = "template"
# Settings of a tokenizer that change its tokens without changing its template.
_SETTINGS = ("add_bos_token", "add_eos_token", "add_prefix_space", "bos_token", "eos_token")


def same_template(base: Path, serving: Path) -> Iterator[Finding]:
    """Compare the tokenizer of the folder trained on with that of the folder served.

    Raises:
        TokenizerError: One of the folders has no usable tokenizer.
    """
    ours, theirs = load_tokenizer(base), load_tokenizer(serving)
    mine, other = template_digest(ours), template_digest(theirs)
    if mine != other:
        yield _error(f"the chat templates differ (SHA-256 {mine[:12]}… and {other[:12]}…)")
    if ours.get_vocab() != theirs.get_vocab():
        yield _error(f"the vocabularies differ ({len(ours):,} and {len(theirs):,} tokens)")
    stops = [
        set(tokenizer.convert_ids_to_tokens(sorted(end_tokens(tokenizer, folder))))
        for tokenizer, folder in ((ours, base), (theirs, serving))
    ]
    if stops[0] != stops[1]:
        yield _error("they stop at different tokens (`eos_token_id`)")
    for name in _SETTINGS:
        a, b = (t.init_kwargs.get(name) for t in (ours, theirs))
        if str(a) != str(b):
            yield _error(f"`{name}` of tokenizer_config.json differs ({a!r} and {b!r})")


def _error(what: str) -> Finding:
    return Finding(0, CHECK, "error", f"training and serving are not the same: {what}")
