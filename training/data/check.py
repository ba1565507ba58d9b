"""All checks over one data set, one after the other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gateway.store.examples import Example
from training.data import alike, findings, rendering
from training.data.checks import (
    contradictions,
    contributors,
    duplicates,
    end_of_turn,
    labels,
    language,
    leakage,
    lengths,
    loss_share,
    personal,
    secrets,
    template,
    turns,
)
from training.data.findings import Finding
from training.data.similarity import THRESHOLD
from training.data.source import Progress, load, silent

TRAINER_MAX_LENGTH = 1024  # TRL's default, beyond which SFTTrainer truncates without a word


@dataclass(frozen=True, slots=True)
class Options:
    """What a data set is checked against.

    Args:
        model: Folder of the model to train; without it tokens are not counted.
        serving: Folder of the model that is served, if its template is to be compared.
        max_length: Tokens of a row that the trainer reads.
        near: Least similarity of near duplicates, above 0 and up to 1.
    """

    model: Path | None = None
    serving: Path | None = None
    max_length: int = TRAINER_MAX_LENGTH
    near: float = THRESHOLD


@dataclass(frozen=True, slots=True)
class Checked:
    """A data set and all that there is to say about it.

    Args:
        path: The file that was checked.
        options: What it was checked against.
        examples: Its usable rows.
        held_out: The usable rows of the evaluation set.
        rows: Rows of the file, those included that cannot be used.
        findings: By severity, then by line.
        left_out: Checks that were not made, and why.
        tokens: Length of each rendered row.
        labels: Rows of each label, where the answers are labels.
        languages: Rows of each language, of those that could be judged.
        contributors: Rows of each contributor.
    """

    path: Path
    options: Options
    examples: tuple[Example, ...]
    held_out: tuple[Example, ...]
    rows: int
    findings: tuple[Finding, ...]
    left_out: tuple[str, ...] = ()
    tokens: tuple[int, ...] = ()
    labels: Counter[str] = field(default_factory=Counter)
    languages: Counter[str] = field(default_factory=Counter)
    contributors: Counter[str] = field(default_factory=Counter)

    def count(self, severity: str) -> int:
        """Return how many findings have this severity."""
        return sum(1 for finding in self.findings if finding.severity == severity)

    def flagged(self) -> int:
        """Return how many rows have an error or a warning."""
        lines = {f.line for f in self.findings if f.severity != "info" and not f.file}
        return len(lines - {0})

    def forbidding(self) -> list[Finding]:
        """Return the findings that forbid training."""
        return [finding for finding in self.findings if finding.forbids]

    def as_dict(self) -> dict[str, Any]:
        """Return what `--json` prints; texts of rows are not in it."""
        return {
            "file": str(self.path),
            "rows": self.rows,
            "usable": len(self.examples),
            "flagged": self.flagged(),
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "checks": findings.counts(self.findings),
            "left_out": list(self.left_out),
            "languages": dict(self.languages),
            "contributors": dict(self.contributors),
            "labels": dict(self.labels),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def check(
    path: Path,
    held_out: Path | None = None,
    options: Options | None = None,
    on_progress: Progress = silent,
) -> Checked:
    """Check a file of training rows, and that none of them is in the evaluation set.

    Raises:
        SourceError: A file cannot be read as rows at all.
        TokenizerError: A folder has no usable tokenizer.
    """
    options = options or Options()
    examples, errors = load(path, on_progress)
    held, held_errors = load(held_out, on_progress) if held_out else ([], [])
    found = [findings.of_row_error(error) for error in errors]
    if held_out:
        found += [findings.of_row_error(error, str(held_out)) for error in held_errors]
    rendered, refused = _rendered(options, examples, on_progress)
    spoken = language.languages(examples, on_progress)
    near = alike.find_alike(examples, held, threshold=options.near, on_progress=on_progress)
    answers = labels.labels(examples)
    givers = contributors.contributors(examples)
    found += refused
    found += turns.duplicate_turns(examples)
    found += _of_tokens(rendered, options)
    found += language.strangers(examples, spoken)
    found += secrets.secrets(examples, on_progress)
    found += personal.personal(examples, on_progress)
    found += duplicates.duplicates(examples, near)
    found += duplicates.near_duplicates(examples, near)
    found += contradictions.contradictions(examples, near)
    found += contradictions.near_contradictions(examples, near)
    found += labels.balance(answers)
    found += leakage.leaks(examples, held, near)
    found += contributors.shares(givers)
    return Checked(
        path=path,
        options=options,
        examples=tuple(examples),
        held_out=tuple(held),
        rows=len(examples) + len(errors),
        findings=findings.ordered(found),
        left_out=_left_out(options, held_out),
        tokens=tuple(row.tokens for row in rendered),
        labels=answers or Counter(),
        languages=language.mix(spoken),
        contributors=givers,
    )


def _rendered(
    options: Options, examples: Sequence[Example], on_progress: Progress
) -> tuple[list[rendering.Rendered], list[Finding]]:
    if options.model is None:
        return [], []
    return rendering.render_all(options.model, examples, on_progress)


def _of_tokens(rows: Sequence[rendering.Rendered], options: Options) -> Iterator[Finding]:
    if options.model is not None:
        yield from lengths.lengths(rows, options.max_length)
        yield from loss_share.loss_share(rows)
        yield from end_of_turn.end_of_turn(rows)
        yield from end_of_turn.control_tokens(rows)
        if options.serving is not None:
            yield from template.same_template(options.model, options.serving)


def _left_out(options: Options, held_out: Path | None) -> tuple[str, ...]:
    left: list[str] = []
    if options.model is None:
        left.append("token lengths, loss share and end-of-turn token (give the model's folder)")
    elif options.serving is None:
        left.append("template equal in training and serving (give the serving model's folder)")
    if held_out is None:
        left.append("leaks into the evaluation set (give its file)")
    return tuple(left)
