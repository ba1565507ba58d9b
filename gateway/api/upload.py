"""A multipart upload on its way to disk: one file and a few short fields (RFC 7578).

Starlette's own form parser would keep the file in a temporary folder, which may be memory, and
copy it from there.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from pathlib import Path

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from gateway.errors import BodyTooLarge, InvalidRequest

_FIELD_BYTES = 4096
_FIELDS = 32
_WRITE_BYTES = 2**20


class Upload:
    """Takes the chunks of a body apart.

    Args:
        content_type: The request's, with the boundary.
        target: Where the bytes of the part `file` go; must not exist.
        limit: Most bytes of it.

    Raises:
        InvalidRequest: The body is not a multipart form.
    """

    def __init__(self, content_type: str, target: Path, limit: int) -> None:
        kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise InvalidRequest(
                "Send a multipart form (`multipart/form-data`) with `file` and `purpose`.",
                code="invalid_form",
            )
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.size = 0
        self._digest = hashlib.sha256()
        self._target = target
        self._limit = limit
        self._pending = bytearray()
        self._field = self._name = ""
        self._header: tuple[bytearray, bytearray] = (bytearray(), bytearray())
        self._disposition = b""
        self._value = bytearray()
        self._complete = False
        try:
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._begin,
                    "on_header_field": lambda data, a, b: self._header[0].extend(data[a:b]),
                    "on_header_value": lambda data, a, b: self._header[1].extend(data[a:b]),
                    "on_header_end": self._end_header,
                    "on_headers_finished": self._end_headers,
                    "on_part_data": self._data,
                    "on_part_end": self._end_part,
                    "on_end": self._end,
                },
            )
        except FormParserError as error:
            raise _malformed(error) from error

    @property
    def sha256(self) -> str:
        """The hex digest of the file."""
        return self._digest.hexdigest()

    async def take(self, chunks: AsyncIterator[bytes]) -> None:
        """Take the whole body; afterwards the file is complete.

        Raises:
            InvalidRequest: The form is malformed or cut off, or has no file.
            BodyTooLarge: The file is larger than the limit.
            OSError: The disk does not take it.
        """
        with await asyncio.to_thread(self._target.open, "xb", buffering=0) as file:
            self._target.chmod(0o600)
            async for chunk in chunks:
                try:
                    self._parser.write(chunk)
                except FormParserError as error:
                    raise _malformed(error) from error
                if self.size > self._limit:
                    raise BodyTooLarge(
                        f"The file is larger than {self._limit:,} bytes.",
                        code="file_too_large",
                        param="file",
                    )
                if len(self._pending) >= _WRITE_BYTES:
                    await asyncio.to_thread(self._write, file)
            await asyncio.to_thread(self._write, file)
        if not self._complete:
            raise InvalidRequest("The form ends too early.", code="invalid_form")
        if self.filename is None:
            raise InvalidRequest("The form has no `file`.", code="missing_field", param="file")

    def _write(self, file: io.FileIO) -> None:
        self._digest.update(self._pending)
        rest = memoryview(self._pending)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        rest.release()
        self._pending = bytearray()

    def _begin(self) -> None:
        self._disposition, self._value = b"", bytearray()

    def _end_header(self) -> None:
        name, value = self._header
        if name.lower() == b"content-disposition":
            self._disposition = bytes(value)
        self._header = (bytearray(), bytearray())

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        if self._name != "file":
            return
        if self.filename is not None:
            raise InvalidRequest("The form has two files.", code="invalid_form", param="file")
        # Only the last part of what may be a path, for people to read; never a name on our disk.
        given = options.get(b"filename", b"").decode("utf-8", "replace").replace("\\", "/")
        self.filename = given.rsplit("/", 1)[-1].replace("\x00", "")[:255] or "upload.jsonl"

    def _data(self, data: bytes, start: int, end: int) -> None:
        if self._name == "file":
            self.size += end - start
            self._pending += memoryview(data)[start:end]
            return
        self._value += data[start:end]
        if len(self._value) > _FIELD_BYTES:
            raise InvalidRequest(
                f"`{self._name[:100]}` is longer than {_FIELD_BYTES} bytes.",
                code="invalid_form",
                param=self._name[:100],
            )

    def _end_part(self) -> None:
        if self._name == "file":
            return
        if len(self.fields) >= _FIELDS:
            raise InvalidRequest(f"The form has more than {_FIELDS} fields.", code="invalid_form")
        self.fields[self._name] = self._value.decode("utf-8", "replace")

    def _end(self) -> None:
        self._complete = True


def _malformed(error: FormParserError) -> InvalidRequest:
    return InvalidRequest(f"The form is malformed: {error}.", code="invalid_form")
