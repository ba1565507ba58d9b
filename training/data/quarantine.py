"""Rows that are set aside for people to look at: whole and unchanged, with the reasons."""

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from gateway.store.examples import Example
from training.data.findings import Finding

NAME = "quarantine.jsonl"


def write(path: Path, examples: Iterable[Example], findings: Sequence[Finding]) -> int:
    """Write the rows that findings quarantine, each with its line and its reasons.

    The file is readable for this user alone: it is where the secrets are.

    Returns:
        How many rows were written.
    """
    reasons: dict[int, list[str]] = {}
    for finding in findings:
        if finding.action == "quarantine" and not finding.file:
            reasons.setdefault(finding.line, []).append(f"{finding.check}: {finding.reason}")
    partial = path.with_name(f".{path.name}.partial")
    partial.unlink(missing_ok=True)
    count = 0
    with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        for example in examples:
            if example.line in reasons:
                why = {"line": example.line, "quarantined": reasons[example.line]}
                file.write(msgspec.json.encode(example.as_dict() | why) + b"\n")
                count += 1
    partial.replace(path)
    return count
