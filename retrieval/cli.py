"""`driftgate retrieval`: the retrieval service."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The retrieval service.", no_args_is_help=True)


@app.callback()
def _group() -> None:
    """The retrieval service."""


@app.command()
def serve(
    model: Annotated[str, typer.Option(help="Folder of the embedder, or `hash` for the stub.")],
    socket: Annotated[Path, typer.Option(help="Unix socket to serve on.")],
    threads: Annotated[int, typer.Option(min=1, help="Threads for one batch.")] = 1,
) -> None:
    """Serve embeddings on a Unix socket until SIGTERM."""
    from retrieval.embedder import Embedder, HashEmbedder, SentenceTransformerEmbedder
    from retrieval.service import RetrievalService

    embedder: Embedder
    if model == "hash":
        embedder = HashEmbedder()
    elif not Path(model).is_dir():
        typer.echo(f"There is no folder {model}.", err=True)
        raise typer.Exit(2)
    else:
        embedder = SentenceTransformerEmbedder(Path(model), threads)
    asyncio.run(RetrievalService(embedder, socket).run())
