"""Plain text, encodings, Markdown and HTML as blocks."""

import random
from pathlib import Path

import pytest

from retrieval.loaders.parts import LoadError
from tests.retrieval.loaders.loading import blocks, starts, texts


def _write(path: Path, data: str | bytes) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return path


def test_paragraphs_stand_between_blank_lines(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.txt", "One\nline.\r\n\r\n \nTwo.\n\n\n\nThree.")
    assert [text.strip() for text in texts(path)] == ["One\nline.", "Two.", "Three."]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings_that_say_what_they_are(tmp_path: Path, encoding: str) -> None:
    path = _write(tmp_path / "a.txt", "Grüße aus Köln — 日本".encode(encoding))
    assert texts(path) == ["Grüße aus Köln — 日本"]


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1252", "Die Straße führt über die Brücke nach Köln, wo wir Käse für fünf Gäste holen."),
        ("cp1251", "Привет, мир! Это простой текст на русском языке для проверки кодировки."),
        ("gb18030", "今天天气很好，我们去公园散步，看到很多人在那里放风筝，孩子们都很高兴。"),  # noqa: RUF001
    ],
)
def test_old_encodings_are_told(tmp_path: Path, encoding: str, words: str) -> None:
    path = _write(tmp_path / "a.txt", f"{words}\n\n{words}".encode(encoding))
    assert texts(path) == [words, words]


def test_damaged_utf8_is_an_error_that_names_file_and_line(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "notes.txt", "Grüße\nnoch ein Gruß\nka\0putt".replace("\0", "").encode()
    )
    data = path.read_bytes() + b"\xff und weiter"
    with pytest.raises(LoadError, match=r"notes\.txt, line 3: is not UTF-8 \(byte 0xff\)"):
        texts(_write(path, data))


def test_damage_far_into_a_file_is_found_too(tmp_path: Path) -> None:
    data = "Ein Satz mit Umlaut: über.\n".encode() * 30_000 + b"\xff\n"
    with pytest.raises(LoadError, match=r"a\.txt, line 30001: is not UTF-8"):
        texts(_write(tmp_path / "a.txt", data))


def test_binary_is_an_error(tmp_path: Path) -> None:
    for name, data in (("a.txt", random.Random(7).randbytes(5000)), ("a.bin", b"\x7fELF\0\0\1")):
        with pytest.raises(LoadError, match=rf"{name}: is binary, not text"):
            texts(_write(tmp_path / name, data))


def test_front_matter_describes_the_document(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.md",
        "---\nid: fees\ntitle: Fees\nvalid_from: 2026-01-01\nsupersedes: [old]\ntags: [a, b]\n"
        "---\n# Heading\n\nWords.\n",
    )
    (start,) = starts(path)
    assert start.fields["id"] == "fees"
    assert start.fields["title"] == "Fees"
    assert start.fields["supersedes"] == ["old"]
    assert texts(path) == ["# Heading", "Words."]


def test_broken_front_matter_names_its_line(tmp_path: Path) -> None:
    path = _write(tmp_path / "a.md", "---\ntitle: ok\nurl: [\n---\nWords.\n")
    with pytest.raises(LoadError, match=r"a\.md, line \d: its front matter is not YAML"):
        texts(path)


def test_a_rule_at_the_top_is_no_front_matter(tmp_path: Path) -> None:
    assert texts(_write(tmp_path / "a.md", "---\nWords\n---\nMore.\n"))[-1] == "More."


def test_markdown_without_its_marks(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.md",
        "# Guide\n\nSee [the *manual*](http://x.example) and `code`,\nwrapped.\n\n"
        "- one\n- two\n  - deeper\n\n3. third\n\n```sh\nrun  it\n```\n\n"
        "| city | fee |\n| --- | --- |\n| Bonn | 5 |\n| Köln |  |\n\n<b>bold</b> <!-- no -->\n",
    )
    assert texts(path) == [
        "# Guide",
        "See the manual and code, wrapped.",
        "- one",
        "- two",
        "- deeper",
        "3. third",
        "run  it",
        "city: Bonn; fee: 5",
        "city: Köln",
        "bold",
    ]
    assert starts(path)[0].fields == {"title": "Guide"}


def test_html_without_scripts_styles_and_navigation(tmp_path: Path) -> None:
    path = _write(
        tmp_path / "a.html",
        "<!doctype html><html><head><title>Fees &amp; more</title><style>p{}</style>"
        '<link rel="canonical" href="https://x.example/fees"><script>track()</script></head><body>'
        "<header>Site</header><nav>Home</nav><main><h1>Fees</h1><p>The <b>fee</b>\n is 5.<br>"
        "Always.</p><script>x</script><p hidden>secret</p><p style='display: none'>secret</p>"
        "<ul><li>one <i>1</i><li>two</ul><table><tr><th>City<th>Fee<tr><td>Bonn<td>5</table>"
        "<pre>a\n  b</pre>bare<div>words</div></main><footer>Imprint</footer></body></html>",
    )
    assert texts(path) == [
        "# Fees",
        "The fee is 5.\nAlways.",
        "- one 1",
        "- two",
        "City: Bonn; Fee: 5",
        "a\n  b",
        "bare",
        "words",
    ]
    assert starts(path)[0].fields == {"title": "Fees & more", "url": "https://x.example/fees"}


def test_html_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    page = "<html><meta charset='iso-8859-15'><p>Fünf € bitte</p></html>"
    assert texts(_write(tmp_path / "page", page.encode("iso-8859-15"))) == ["Fünf € bitte"]


def test_html_nested_without_end_is_read(tmp_path: Path) -> None:
    page = "<html>" + "<div>" * 100_000 + "deep"
    assert all("<div" not in block.text for block in blocks(_write(tmp_path / "a.html", page)))
