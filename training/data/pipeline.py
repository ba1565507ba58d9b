"""From a raw file to a frozen data set: check, leave out, set aside, split, write down."""

import json
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gateway.store.examples import Example, write_jsonl
from training.data import findings, manifest, masking, quarantine
from training.data.check import Checked, Options, check
from training.data.findings import DataRejected, Finding
from training.data.source import Progress, silent
from training.data.split import SplitError, split

TRAIN, VALID, REPORT, FINDINGS = "train.jsonl", "valid.jsonl", "report.html", "findings.json"


@dataclass(frozen=True, slots=True)
class Prepared:
    """A data set that may be trained on: its files, and the findings on the raw rows."""

    train: Path
    valid: Path
    quarantine: Path
    manifest: Path
    report: Path
    findings: tuple[Finding, ...]


def prepare(
    train: Path,
    eval: Path | None,
    out: Path,
    *,
    model: Path,
    max_length: int,
    valid_share: float,
    seed: int,
    on_progress: Progress | None = None,
) -> Prepared:
    """Make a frozen data set of raw rows.

    Rows with a finding whose action is `drop` are left out, those to `quarantine` are set aside in
    a file of their own. The validation rows are those of `eval`, or else a share of the training
    rows that no near duplicate links to the others. The folder appears whole, by a rename; where it
    is there already, made of the same files and settings and unchanged, nothing is done.

    Args:
        train: Raw rows, JSON Lines or Parquet.
        eval: Raw rows to validate with, or None.
        out: Folder to make.
        model: Folder of the model that will be trained.
        max_length: Tokens of a row that the trainer reads; longer rows are left out.
        valid_share: Share of the rows to validate with, where `eval` is None.
        seed: Of the split.
        on_progress: Told what is being done, how much is done, and of how much (0: not known).

    Raises:
        DataRejected: Rows cannot be read, the template is at fault, or nothing is left.
        SourceError: A file cannot be read as rows at all.
        TokenizerError: `model` has no usable tokenizer.
    """
    on_progress = on_progress or silent
    settings = {"max_length": max_length, "valid_share": valid_share, "seed": seed}
    known = _known(train, eval, out, model, settings)
    if known is not None:
        return known
    checked = check(train, eval, Options(model, max_length=max_length), on_progress)
    if forbidding := checked.forbidding():
        raise DataRejected(forbidding)
    kept = _kept(checked)
    parts = _parts(checked, kept, valid_share, seed, on_progress)
    partial = out.with_name(f".{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        _write(partial, parts, checked, (train, eval), model, settings)
        if out.exists():
            shutil.rmtree(out)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return _prepared(out, checked.findings)


def _kept(checked: Checked) -> list[Example]:
    out = findings.lines_to("drop", checked.findings)
    out |= findings.lines_to("quarantine", checked.findings)
    kept = [example for example in checked.examples if example.line not in out]
    if not kept:
        reason = "no row is left to train on: each is left out or set aside for one of the reasons"
        raise DataRejected([Finding(0, "too_few", "error", reason), *checked.findings])
    return kept


def _parts(
    checked: Checked, kept: list[Example], valid_share: float, seed: int, on_progress: Progress
) -> dict[str, list[Example]]:
    if checked.held_out:
        return {TRAIN: kept, VALID: list(checked.held_out)}
    shares = {TRAIN: 1 - valid_share, VALID: valid_share}
    try:
        return split(kept, shares, seed=seed, on_progress=on_progress)
    except SplitError as error:
        raise DataRejected([Finding(0, "too_few", "error", str(error))]) from error


def _write(
    folder: Path,
    parts: dict[str, list[Example]],
    checked: Checked,
    sources: tuple[Path, Path | None],
    model: Path,
    settings: dict[str, Any],
) -> None:
    from training.data.report import write_report

    records = []
    for name, examples in parts.items():
        records.append(manifest.record(folder / name, write_jsonl(folder / name, examples)))
    aside = folder / quarantine.NAME
    count = quarantine.write(aside, checked.examples, checked.findings)
    records.append(manifest.record(aside, count))
    document = [finding.as_dict() for finding in checked.findings]
    (folder / FINDINGS).write_text(json.dumps(document, indent=1, ensure_ascii=False), "utf-8")
    write_report(folder / REPORT, checked)
    sizes = (checked.rows, len(checked.held_out))
    manifest.Manifest(
        files=tuple(records),
        inputs=tuple(
            manifest.record(path, rows, str(path))
            for path, rows in zip(sources, sizes, strict=True)
            if path is not None
        ),
        filters=_filters(checked),
        settings=settings,
        time_range=manifest.time_range(parts[TRAIN]),
        tokenizer=masking.tokenizer_digest(model),
        template=masking.template_digest(masking.load_tokenizer(model)),
    ).write(folder)


def _filters(checked: Checked) -> dict[str, int]:
    """Count the rows that each check took out; a row with several reasons counts in each."""
    taken = Counter(
        f"{finding.check}:{finding.action}"
        for finding in checked.findings
        if finding.action != "keep" and not finding.file
    )
    return {"rows": checked.rows, **dict(sorted(taken.items()))}


def _known(
    train: Path, eval: Path | None, out: Path, model: Path, settings: dict[str, Any]
) -> Prepared | None:
    """Return the data set that is there already, if it is the one asked for."""
    try:
        found = manifest.read(out)
        reported = json.loads((out / FINDINGS).read_text("utf-8"))
        inputs = [manifest.sha256(path) for path in (train, eval) if path is not None]
    except (manifest.ManifestError, OSError, ValueError):
        return None
    same = (
        [record.sha256 for record in found.inputs] == inputs
        and dict(found.settings) == settings
        and found.tokenizer == masking.tokenizer_digest(model)
        and found.versions == manifest.versions()
    )
    if not same or found.verify(out) or not (out / REPORT).is_file():
        return None
    return _prepared(out, [Finding(**fields) for fields in reported])


def _prepared(out: Path, found: Sequence[Finding]) -> Prepared:
    return Prepared(
        out / TRAIN,
        out / VALID,
        out / quarantine.NAME,
        out / manifest.NAME,
        out / REPORT,
        tuple(found),
    )
