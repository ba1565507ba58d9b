"""Writes PDF files for tests: lines of text on pages, without any library."""

from collections.abc import Iterable, Sequence
from pathlib import Path

_ESCAPES = str.maketrans({"\\": r"\\", "(": r"\(", ")": r"\)"})


def write_pdf(path: Path, pages: Iterable[Sequence[str]], *, broken: Sequence[int] = ()) -> Path:
    """Write a PDF file and return its path.

    Args:
        path: Where.
        pages: The lines of each page.
        broken: Pages from 1 whose contents are damaged.
    """
    offsets: list[int] = []
    kids: list[int] = []
    with path.open("wb") as file:

        def write(number: int, body: bytes) -> None:
            offsets.extend([0] * (number + 1 - len(offsets)))
            offsets[number] = file.tell()
            file.write(b"%d 0 obj\n%b\nendobj\n" % (number, body))

        file.write(b"%PDF-1.4\n")
        write(1, b"<< /Type /Catalog /Pages 2 0 R >>")
        write(3, b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>")
        number = 4
        for place, lines in enumerate(pages, 1):
            moves = [f"({line.translate(_ESCAPES)}) Tj 0 -14 Td" for line in lines]
            content = ("BT /F1 11 Tf 60 780 Td\n" + "\n".join(moves) + "\nET").encode("latin-1")
            kind = b""
            if place in broken:
                kind, content = b"/Filter /FlateDecode /DecodeParms 7", b"\x00not zlib at all" * 3
            write(
                number,
                b"<< %b /Length %d >>\nstream\n%b\nendstream" % (kind, len(content), content),
            )
            write(
                number + 1,
                b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents %d 0 R "
                b"/Resources << /Font << /F1 3 0 R >> >> >>" % number,
            )
            kids.append(number + 1)
            number += 2
        listed = b" ".join(b"%d 0 R" % kid for kid in kids)
        write(2, b"<< /Type /Pages /Kids [%b] /Count %d >>" % (listed, len(kids)))
        start = file.tell()
        file.write(b"xref\n0 %d\n0000000000 65535 f \n" % number)
        file.write(b"".join(b"%010d 00000 n \n" % offset for offset in offsets[1:]))
        file.write(b"trailer << /Size %d /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF" % (number, start))
    return path
