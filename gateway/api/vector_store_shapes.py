"""The JSON of vector stores: what a client asks for, and OpenAI's objects of the answers.

https://platform.openai.com/docs/api-reference/vector-stores.
"""

from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from gateway.attributes import DEFAULT_CHUNKING, InvalidAttribute, check
from gateway.store.vector_store_batches import FileBatch
from gateway.store.vector_store_files import FileCounts, VectorStoreFile
from gateway.store.vector_stores import VectorStore

MAX_BATCH = 2000
_Key = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
_Text = Annotated[str, StringConstraints(max_length=512, pattern=r"^[^\x00]*$")]
_Name = Annotated[str, StringConstraints(max_length=256, pattern=r"^[^\x00]*$")]
_FileId = Annotated[str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
Metadata = Annotated[dict[_Key, _Text], Field(max_length=16)]
_LARGEST = 2.0**53


def _attributes(given: dict[str, Any]) -> dict[str, Any]:
    """Check attributes: one plain message for each, where a union of types would give four."""
    for name, value in given.items():
        if isinstance(value, str):
            fits = len(value) <= 512 and "\x00" not in value
        else:
            fits = isinstance(value, bool) or (
                isinstance(value, (int, float)) and abs(value) <= _LARGEST
            )
        if not fits:
            raise PydanticCustomError(
                "attribute",
                "`{name}` must be a text of at most 512 characters, a number or a truth value",
                {"name": name},
            )
    try:
        check(given)
    except InvalidAttribute as error:
        raise PydanticCustomError("attribute", "{told}", {"told": str(error)}) from None
    return given


Attributes = Annotated[dict[_Key, Any], Field(max_length=16), AfterValidator(_attributes)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid")


class StaticChunking(_Part):
    """How large passages are; never larger than what the embedder reads, whatever is asked."""

    max_chunk_size_tokens: int = Field(ge=100, le=4096)
    chunk_overlap_tokens: int = Field(ge=0, le=2048)

    @model_validator(mode="after")
    def _overlap_fits(self) -> "StaticChunking":
        if 2 * self.chunk_overlap_tokens > self.max_chunk_size_tokens:
            raise ValueError("chunk_overlap_tokens must not exceed half of max_chunk_size_tokens")
        return self


class Chunking(_Part):
    """`auto` is Driftgate's default: 200 tokens of which 40 overlap."""

    type: Literal["auto", "static"]
    static: StaticChunking | None = None

    @model_validator(mode="after")
    def _has_sizes(self) -> "Chunking":
        if (self.type == "static") != (self.static is not None):
            raise ValueError("`static` belongs to the type `static`, and to that alone")
        return self


class ExpiresAfter(_Part):
    """A store expires after so many days without a search."""

    anchor: Literal["last_active_at"]
    days: int = Field(ge=1, le=365)


class Extension(_Part):
    """What Driftgate knows beside OpenAI's fields."""

    shared: bool = Field(
        False,
        description="The operator's store, which every key may search; needs the scope `admin`.",
    )


class StoreRequest(_Part):
    """A store to be made."""

    name: _Name | None = None
    description: _Text | None = None
    metadata: Metadata | None = None
    expires_after: ExpiresAfter | None = None
    file_ids: list[_FileId] = Field(default_factory=list, max_length=500)
    chunking_strategy: Chunking | None = None
    driftgate: Extension = Field(default_factory=Extension)


class StoreUpdate(_Part):
    """What is to change; what is not given stays."""

    name: _Name | None = None
    metadata: Metadata | None = None
    expires_after: ExpiresAfter | None = None


class FileRequest(_Part):
    """A file to be added."""

    file_id: _FileId
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None


class FileUpdate(_Part):
    """Attributes in place of those that a file has."""

    attributes: Attributes | None


class BatchRequest(_Part):
    """Files to be added at once: `file_ids`, with what holds for all of them, or `files`."""

    file_ids: list[_FileId] | None = Field(None, min_length=1, max_length=MAX_BATCH)
    files: list[FileRequest] | None = Field(None, min_length=1, max_length=MAX_BATCH)
    attributes: Attributes | None = None
    chunking_strategy: Chunking | None = None

    @model_validator(mode="after")
    def _names_files(self) -> "BatchRequest":
        if (self.file_ids is None) == (self.files is None):
            raise ValueError("give either file_ids or files")
        return self

    def wanted(self) -> list[tuple[str, FileRequest]]:
        """Return each file with the name of the field that names it."""
        if self.files is not None:
            return [(f"files.{n}.file_id", file) for n, file in enumerate(self.files)]
        return [
            (
                f"file_ids.{n}",
                FileRequest.model_construct(
                    file_id=id,
                    attributes=self.attributes,
                    chunking_strategy=self.chunking_strategy,
                ),
            )
            for n, id in enumerate(self.file_ids or [])
        ]


def sizes(chunking: Chunking | None) -> dict[str, int] | None:
    """Return the sizes that are asked for; None: the default."""
    static = None if chunking is None else chunking.static
    if static is None:
        return None if chunking is None else dict(DEFAULT_CHUNKING)
    return static.model_dump()


def counts_object(counts: FileCounts) -> dict[str, int]:
    """Return OpenAI's `file_counts`."""
    return {
        "in_progress": counts.in_progress,
        "completed": counts.completed,
        "failed": counts.failed,
        "cancelled": counts.cancelled,
        "total": counts.total,
    }


def store_object(store: VectorStore, counts: FileCounts) -> dict[str, Any]:
    """Return a store as OpenAI's object, with what Driftgate knows beside it."""
    days = store.expires_after_days
    waiting = "in_progress" if counts.in_progress else "completed"
    return {
        "id": store.id,
        "object": "vector_store",
        "created_at": int(store.created_at),
        "name": store.name,
        "description": store.description,
        "usage_bytes": counts.usage_bytes,
        "file_counts": counts_object(counts),
        "status": "expired" if store.expired() else waiting,
        "expires_after": None if days is None else {"anchor": "last_active_at", "days": days},
        "expires_at": None if store.expires_at is None else int(store.expires_at),
        "last_active_at": int(store.last_active_at),
        "metadata": store.metadata,
        "driftgate": {"key": store.key_prefix, "shared": store.key_prefix is None},
    }


def file_object(file: VectorStoreFile, default: dict[str, int] | None) -> dict[str, Any]:
    """Return a file of a store as OpenAI's object, with what Driftgate knows beside it.

    Args:
        file: The file.
        default: How its store has files cut.
    """
    return {
        "id": file.file_id,
        "object": "vector_store.file",
        "created_at": int(file.created_at),
        "vector_store_id": file.vector_store_id,
        "status": file.status,
        "last_error": file.last_error,
        "usage_bytes": file.usage_bytes,
        "attributes": file.attributes,
        "chunking_strategy": {
            "type": "static",
            "static": {**DEFAULT_CHUNKING, **(file.chunking or default or {})},
        },
        "driftgate": {
            "documents": file.documents,
            "passages": file.passages,
            "progress": file.progress,
        },
    }


def batch_object(batch: FileBatch, counts: FileCounts) -> dict[str, Any]:
    """Return a batch as OpenAI's object."""
    status = "completed"
    if batch.cancelled_at is not None:
        status = "cancelled"
    elif counts.in_progress:
        status = "in_progress"
    elif counts.failed and counts.failed == counts.total:
        status = "failed"
    return {
        "id": batch.id,
        "object": "vector_store.files_batch",
        "created_at": int(batch.created_at),
        "vector_store_id": batch.vector_store_id,
        "status": status,
        "file_counts": counts_object(counts),
    }
