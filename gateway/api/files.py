"""`/v1/files` in OpenAI's shape: documents and training data in, results out.

https://platform.openai.com/docs/api-reference/files. A file belongs to the key that uploaded it;
a key with `admin` sees all. Documents take the scope `inference` or `training`, all else takes
`training`. Rows of training data are checked when they arrive.
"""

import asyncio
import errno
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import FileResponse

from gateway.api.access import owner_of, principal_of
from gateway.api.upload import Upload
from gateway.auth import KeyRing, Principal
from gateway.errors import GatewayError, InvalidRequest, NotFound, Unavailable
from gateway.store.examples import Survey
from gateway.store.files import Files, StoredFile, file_id

PURPOSES = ("fine-tune", "evals", "assistants", "user_data")
_CHECKED = ("fine-tune",)
# What a key without the scope `training` may upload.
_DOCUMENTS = ("assistants", "user_data")
# What a form may hold beside the file.
FORM_BYTES = 2**20
# Checks that run at once in one worker; more wait.
_CHECKS = 2
_Id = Annotated[str, Path(max_length=64, pattern=r"^[^\x00]+$")]
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file", "purpose"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "purpose": {"enum": list(PURPOSES)},
                    },
                }
            }
        },
    }
}


def router(
    keys: KeyRing, files: Files, max_bytes: int, forget: Callable[[str], Awaitable[None]]
) -> APIRouter:
    """Return the routes of files.

    Args:
        keys: Who calls.
        files: Where they are kept.
        max_bytes: Largest file.
        forget: Takes a file that is deleted out of the vector stores.
    """
    caller = Annotated[Principal, Depends(principal_of(keys, "training", "inference"))]
    api = APIRouter(prefix="/v1/files", tags=["files"])
    checks = asyncio.Semaphore(_CHECKS)
    unknown: dict[int | str, dict[str, Any]] = {404: {"description": "No such file."}}

    @api.post("", summary="Upload a document or training data", openapi_extra=_UPLOAD)
    async def create(request: Request, principal: caller) -> dict[str, Any]:
        partial: FilePath | None = None
        try:
            partial = await asyncio.to_thread(files.partial)
            upload = Upload(request.headers.get("content-type", ""), partial, max_bytes)
            await upload.take(request.stream())
            purpose = _purpose(upload.fields)
            if purpose not in _DOCUMENTS:
                keys.require(principal, "training")
            rows = None
            if purpose in _CHECKED:
                async with checks:
                    rows = _rows(await _survey(partial))
            file = StoredFile(
                id=file_id(),
                key_prefix=principal.key_prefix,
                created_at=time.time(),
                filename=upload.filename or "",
                purpose=purpose,
                bytes=upload.size,
                sha256=upload.sha256,
                rows=rows,
            )
            return file_object(await asyncio.to_thread(files.add, file, partial))
        except OSError as error:
            raise _disk(error) from error
        finally:
            if partial is not None:
                partial.unlink(missing_ok=True)

    @api.get("", summary="List files")
    def listing(
        principal: caller,
        after: Annotated[str | None, Query(max_length=64, pattern=r"^[^\x00]*$")] = None,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 10_000,
        order: Literal["asc", "desc"] = "desc",
        purpose: Annotated[str | None, Query(max_length=40, pattern=r"^[^\x00]*$")] = None,
    ) -> dict[str, Any]:
        try:
            found, more = files.page(
                owner=owner_of(principal),
                purpose=purpose,
                after=after,
                limit=limit,
                ascending=order == "asc",
            )
        except KeyError:
            raise no_cursor("file", after) from None
        return listed([file_object(file) for file in found], more)

    @api.get("/{file_id}", summary="Show a file", responses=unknown)
    def retrieve(file_id: _Id, principal: caller) -> dict[str, Any]:
        return file_object(known(files, file_id, principal))

    @api.get(
        "/{file_id}/content",
        summary="Download a file",
        responses={**unknown, 200: {"content": {"application/octet-stream": {}}}},
        response_class=FileResponse,
    )
    def content(file_id: _Id, principal: caller) -> FileResponse:
        file = known(files, file_id, principal)
        path = files.path(file.id)
        if not path.is_file():
            raise NotFound(
                f"The bytes of `{file_id}` are not on this host.",
                code="file_content_missing",
                param="file_id",
            )
        return FileResponse(path, media_type="application/octet-stream", filename=file.filename)

    @api.delete("/{file_id}", summary="Delete a file", responses=unknown)
    async def delete(file_id: _Id, principal: caller) -> dict[str, Any]:
        file = await asyncio.to_thread(known, files, file_id, principal)
        await forget(file.id)
        deleted = await asyncio.to_thread(files.delete, file.id)
        return {"id": file.id, "object": "file", "deleted": deleted}

    return api


def known(files: Files, id: str, principal: Principal) -> StoredFile:
    """Return a file that the caller may see; another key's is as unknown as one that never was.

    Raises:
        NotFound: There is none.
    """
    file = files.get(id)
    owner = owner_of(principal)
    if file is None or (owner is not None and file.key_prefix != owner):
        raise NotFound(f"There is no file `{id}`.", code="file_not_found", param="file_id")
    return file


def file_object(file: StoredFile) -> dict[str, Any]:
    """Return a file as OpenAI's object, with what Driftgate knows beside it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
        "expires_at": None,
        "driftgate": {"sha256": file.sha256, "rows": file.rows, "key": file.key_prefix},
    }


def listed(data: Sequence[dict[str, Any]], more: bool) -> dict[str, Any]:
    """Return OpenAI's list object."""
    return {
        "object": "list",
        "data": list(data),
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": more,
    }


def no_cursor(noun: str, edge: str | None, param: str = "after") -> InvalidRequest:
    """Return the error of a page that begins after nothing, or ends before it."""
    return InvalidRequest(
        f"There is no {noun} `{edge}` to go on {param}.", code="invalid_cursor", param=param
    )


def _purpose(fields: dict[str, str]) -> str:
    purpose = fields.get("purpose")
    if purpose not in PURPOSES:
        given = "is missing" if purpose is None else f"is not `{purpose[:40]}`"
        raise InvalidRequest(
            f"`purpose` {given}; it is one of {', '.join(f'`{p}`' for p in PURPOSES)}.",
            code="invalid_purpose",
            param="purpose",
        )
    further = fields.keys() - {"purpose"}
    if further:
        name = min(further)[:100]
        raise InvalidRequest(
            f"`{name}` is not supported. Files stay until they are deleted."
            if name.startswith("expires_after")
            else f"`{name}` is not a field of a file.",
            code="unknown_field",
            param=name,
        )
    return purpose


async def _survey(path: FilePath) -> Survey:
    """Check rows in a process of its own: it would hold up the requests of this one."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gateway.store.examples", str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        raise
    if process.returncode != 0:
        raise GatewayError(
            f"The check of the file failed: {errors.decode(errors='replace').strip()[-300:]}",
            code="check_failed",
        )
    return msgspec.json.decode(output, type=Survey)


def _rows(found: Survey) -> int:
    """Return how many rows a file has.

    Raises:
        InvalidRequest: There are none, or some cannot be used; it names their lines.
    """
    if found.bad:
        lines = [f"line {line}: {reason}" for line, _, reason in found.problems]
        left = found.bad - len(lines)
        more = f"\n… and {left:,} more" if left else ""
        count = "1 row" if found.bad == 1 else f"{found.bad:,} rows"
        raise InvalidRequest(
            f"{count} of {found.bad + found.rows:,} cannot be used:\n" + "\n".join(lines) + more,
            code="invalid_training_file",
            param="file",
        )
    if not found.rows:
        raise InvalidRequest(
            "The file has no rows. It must be JSON Lines: one object a line.",
            code="invalid_training_file",
            param="file",
        )
    return found.rows


def _disk(error: OSError) -> GatewayError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return Unavailable("The gateway's disk is full.", code="disk_full")
    return GatewayError(f"The file cannot be kept: {error.strerror}.", code="storage_failed")
