"""PDF and DOCX files that the tests write themselves; which loader a file gets."""

import zipfile
from pathlib import Path

import docx
import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from pypdf import PdfReader, PdfWriter

from retrieval.loaders.parts import LoadError
from tests.retrieval.loaders.loading import bad, blocks, starts, texts
from tests.retrieval.pdf_files import write_pdf

_WIDE = "This line is as wide as the lines of a printed page of prose usually are"


def test_pdf_lines_become_paragraphs_with_pages(tmp_path: Path) -> None:
    path = write_pdf(
        tmp_path / "a.pdf",
        [
            [
                f"{_WIDE}, and it is bro-",
                f"ken at a hyphen. {_WIDE[:60]}",
                "end.",
                f"Next. {_WIDE}",
            ],
            ["Second page \\ (with marks)."],
        ],
    )
    found = blocks(path)
    assert found[0].text == f"{_WIDE}, and it is broken at a hyphen. {_WIDE[:60]} end."
    assert found[1].text == f"Next. {_WIDE}"
    assert (found[2].text, found[2].page) == ("Second page \\ (with marks).", 2)


def test_a_sentence_runs_on_over_the_end_of_a_page(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [["It goes on with"], ["the next page."], ["New."]])
    assert [block.runs_on for block in blocks(path)] == [False, True, False]


def test_running_heads_and_page_numbers_are_dropped(tmp_path: Path) -> None:
    pages = [
        ["Manual of fees", f"The fee of year {n} is {n * 7}.", f"{_WIDE}.", f"Page {n} of 3"]
        for n in range(1, 4)
    ]
    found = " ".join(texts(write_pdf(tmp_path / "a.pdf", pages)))
    assert "Manual of fees" not in found
    assert "Page " not in found
    assert "The fee of year 2 is 14." in found


def test_short_pages_that_are_alike_keep_their_lines(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [["The same line."], ["The same line."]])
    assert texts(path) == ["The same line.", "The same line."]


def test_the_outline_gives_headings(tmp_path: Path) -> None:
    plain = write_pdf(
        tmp_path / "plain.pdf", [["Intro text."], ["Before.", "", "2 Fees", "The fee is 5."]]
    )
    writer = PdfWriter(clone_from=str(plain))
    chapter = writer.add_outline_item(title="Guide", page_number=0)
    writer.add_outline_item(title="Fees", page_number=1, parent=chapter)
    writer.add_metadata({"/Title": "The guide"})
    path = tmp_path / "a.pdf"
    writer.write(path)
    assert texts(path) == ["# Guide", "Intro text.", "Before.", "## Fees", "The fee is 5."]
    assert starts(path)[0].fields == {"title": "The guide"}


@pytest.mark.parametrize("algorithm", ["RC4-128", "AES-256"])
def test_an_encrypted_pdf_is_an_error(tmp_path: Path, algorithm: str) -> None:
    plain = write_pdf(tmp_path / "plain.pdf", [["Secret."]])
    for name, password in (("locked.pdf", "word"), ("open.pdf", "")):
        writer = PdfWriter(clone_from=str(plain))
        writer.encrypt(user_password=password, owner_password="owner", algorithm=algorithm)
        writer.write(tmp_path / name)
    with pytest.raises(LoadError, match=r"locked\.pdf: is encrypted"):
        texts(tmp_path / "locked.pdf")
    assert PdfReader(tmp_path / "open.pdf").is_encrypted
    assert texts(tmp_path / "open.pdf") == ["Secret."]  # only printing or copying is forbidden


def test_a_damaged_page_is_named_and_the_rest_is_read(tmp_path: Path) -> None:
    path = write_pdf(tmp_path / "a.pdf", [["One."], ["Two."], ["Three."]], broken=[2])
    assert bad(path)[0].startswith("page 2: cannot be read: ")
    assert texts(path) == ["One.", "Three."]


def test_pdf_files_without_words(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"a\.pdf: has no text; scanned pages need OCR"):
        texts(write_pdf(tmp_path / "a.pdf", [[], []]))
    (tmp_path / "b.pdf").write_bytes(b"%PDF-1.4\nnothing more")
    with pytest.raises(LoadError, match=r"b\.pdf: is damaged"):
        texts(tmp_path / "b.pdf")
    (tmp_path / "c.pdf").write_bytes(b"no PDF")
    with pytest.raises(LoadError, match=r"c\.pdf: is no PDF file, though it is called one"):
        texts(tmp_path / "c.pdf")


def test_docx_in_order_with_insertions_and_without_deletions(tmp_path: Path) -> None:
    document = docx.Document()
    document.core_properties.title = "Fees"
    document.add_heading("Guide", 1)
    paragraph = document.add_paragraph("The fee is ")
    for kind, text in (("del", "<w:delText>4</w:delText>"), ("ins", "<w:t>5</w:t>")):
        paragraph._p.append(parse_xml(f"<w:{kind} {nsdecls('w')}><w:r>{text}</w:r></w:{kind}>"))
    document.add_paragraph("one", style="List Bullet")
    table = document.add_table(2, 2)
    for cell, text in zip(table._cells, ["City", "Fee", "Bonn", "5"], strict=True):
        cell.text = text
    document.add_heading("More", 2)
    document.add_paragraph("The end.")
    path = tmp_path / "a.docx"
    document.save(str(path))
    assert texts(path) == [
        "# Guide",
        "The fee is 5",
        "- one",
        "City: Bonn; Fee: 5",
        "## More",
        "The end.",
    ]
    assert starts(path)[0].fields == {"title": "Fees"}


def test_files_that_are_no_docx(tmp_path: Path) -> None:
    path = tmp_path / "a.docx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600))
    with pytest.raises(LoadError, match=r"a\.docx: is an encrypted or old Office file"):
        texts(path)
    path.write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(LoadError, match=r"a\.docx: is damaged"):
        texts(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("xl/workbook.xml", "<x/>")
    with pytest.raises(LoadError, match=r"a\.docx: is an archive or an Office file other"):
        texts(path)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<x/>")
    with pytest.raises(LoadError, match=r"a\.docx: is damaged or no Word document"):
        texts(path)


def test_content_decides_where_the_name_is_wrong(tmp_path: Path) -> None:
    assert texts(write_pdf(tmp_path / "notes.txt", [["From a PDF."]])) == ["From a PDF."]
    (tmp_path / "empty.md").write_bytes(b"")
    with pytest.raises(LoadError, match=r"empty\.md: is empty"):
        texts(tmp_path / "empty.md")
