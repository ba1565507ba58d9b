import re
from pathlib import Path

from tests.training.data import planted
from training.data import plots
from training.data.check import Options, check
from training.data.report import write_report


def test_the_page_has_every_check_and_no_outside_resource(
    tmp_path: Path, tokenizer_folder: Path
) -> None:
    train, evaluation, faults = planted.write(tmp_path, tokens=True)
    checked = check(train, evaluation, Options(tokenizer_folder, max_length=400))
    write_report(tmp_path / "report.html", checked)
    page = (tmp_path / "report.html").read_text()
    for name in {name for _, name in faults}:
        assert f"<code>{name}</code>" in page
    assert not re.search(r'(src|href)="(https?:)?//', page)
    assert "<script" not in page
    assert page.count("<svg") == 3  # findings, lengths, languages
    assert "prefers-color-scheme: dark" in page


def test_texts_of_rows_cannot_write_markup(tmp_path: Path) -> None:
    train = tmp_path / "<b>.jsonl"
    asked = "What is the answer to this question?"
    lines = [planted.row(asked, f"<script>alert({n})</script>") for n in (1, 2)]
    train.write_text("\n".join(lines))
    write_report(tmp_path / "report.html", check(train))
    page = (tmp_path / "report.html").read_text()
    assert "<script" not in page
    assert "<b>.jsonl" not in page
    assert "&lt;script&gt;" in page


def test_pictures_escape_names_and_take_the_colours_of_the_page() -> None:
    picture = plots.bars({"<i>a</i>": 3, "$x_1$": 2, "": 1}, "label")
    assert picture.startswith("<svg")
    assert "<i>" not in picture
    assert "$x_1$" in picture
    assert "(not named)" in picture
    assert "#0102" not in picture
    assert "currentColor" in picture


def test_pictures_of_nothing_are_none_and_of_much_are_bounded() -> None:
    assert plots.bars({}, "label") == plots.token_lengths([], 9) == plots.by_check({}) == ""
    picture = plots.bars({f"label {n}": n + 1 for n in range(100)}, "label")
    assert "at the dotted line: 70 more with 3,535 rows" in picture
    assert "label 99" in picture
    assert "label 0" in picture
