"""`driftgate retrieval`: the retrieval service."""

import asyncio
import logging
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The retrieval service.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The retrieval service."""


@app.command(epilog="Example: driftgate retrieval serve --model hash --socket retrieval.sock")
def serve(
    model: Annotated[str, typer.Option(help="Folder of the embedder, or `hash` for the stub.")],
    socket: Annotated[Path, typer.Option(help="Unix socket to serve on.")],
    indexes: Annotated[
        Path | None,
        typer.Option(help="Folder of the collections; without it only embeddings are served."),
    ] = None,
    files: Annotated[
        Path | None, typer.Option(help="Folder that files may be added from; without it none may.")
    ] = None,
    reranker: Annotated[
        Path | None, typer.Option(help="Folder of a cross-encoder that orders the best hits again.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for one batch.")] = 1,
) -> None:
    """Serve embeddings and searches on a Unix socket until SIGTERM."""
    from retrieval.embedder import Embedder, HashEmbedder, SentenceTransformerEmbedder
    from retrieval.reranker import CrossEncoderReranker
    from retrieval.service import RetrievalService

    os.umask(0o077)  # what is indexed is this user's alone
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    for folder in (Path(model) if model != "hash" else None, reranker):
        if folder is not None and not folder.is_dir():
            typer.echo(f"There is no folder {folder}.", err=True)
            raise typer.Exit(2)
    embedder: Embedder
    tokenizer = ""
    if model == "hash":
        embedder = HashEmbedder()
    else:
        embedder = SentenceTransformerEmbedder(Path(model), threads)
        tokenizer = str(Path(model).resolve())
    orders = None if reranker is None else CrossEncoderReranker(reranker, threads)
    try:
        service = RetrievalService(embedder, socket, indexes, files, tokenizer, orders)
        asyncio.run(service.run())
    except OSError as error:
        typer.echo(f"The retrieval service cannot serve: {error}", err=True)
        raise typer.Exit(2) from None
    sys.stderr.flush()
    os._exit(0)  # a thread that compacts would hold up the end; what it builds is not missed
