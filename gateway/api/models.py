"""`/v1/models`: aliases and releases with their lineage, and the embedding model."""

from dataclasses import asdict
from typing import Any

from fastapi import APIRouter

from gateway.api.access import requires
from gateway.auth import KeyRing
from gateway.certified import Certified
from gateway.errors import NotFound
from gateway.routing import Routes
from gateway.store.releases import Release, Target

# A release's paths on the server are nobody's business on the wire.
_PRIVATE = ("path", "adapter_path")


def router(keys: KeyRing, routes: Routes, embedder: str, certified: Certified) -> APIRouter:
    """Return the model routes; they answer from memory, store or no store.

    Only a release's certificate is read from the store; while it is away, the last one is shown.
    """
    api = APIRouter(
        prefix="/v1/models", tags=["models"], dependencies=[requires(keys, "inference")]
    )

    @api.get("", summary="List aliases, releases and the embedding model")
    async def listing() -> dict[str, Any]:
        data = [_alias(name, targets, routes) for name, targets in sorted(routes.aliases.items())]
        data += [_release(release) for release in routes.releases.values()]
        if embedder:
            data.append(_embedder(embedder))
        return {"object": "list", "data": data}

    @api.get(
        "/{model}",
        summary="Show an alias, or a release with its lineage and certificate",
        responses={404: {"description": "No alias and no release has this name."}},
    )
    async def retrieve(model: str) -> dict[str, Any]:
        if model in routes.aliases:
            return _alias(model, routes.aliases[model], routes)
        if model in routes.releases:
            release = routes.releases[model]
            return _release(release, certificate=await certified.of(release))
        if model == embedder:
            return _embedder(embedder)
        names = ", ".join(f"`{n}`" for n in sorted({*routes.aliases, *routes.releases}))
        raise NotFound(
            f"The model `{model[:200]}` does not exist. Known: {names or 'none yet'}.",
            code="model_not_found",
            param="model",
        )

    return api


def _alias(name: str, targets: tuple[Target, ...], routes: Routes) -> dict[str, Any]:
    known = [routes.releases[t.release] for t in targets if t.release in routes.releases]
    created = int(max((release.created_at for release in known), default=0))
    return _model(name, created, kind="alias", targets=[asdict(target) for target in targets])


def _release(release: Release, **more: Any) -> dict[str, Any]:
    lineage = {k: v for k, v in asdict(release).items() if k not in _PRIVATE} | more
    return _model(release.id, int(release.created_at), kind="release", **lineage)


def _embedder(name: str) -> dict[str, Any]:
    return _model(name, 0, kind="embedder")


def _model(name: str, created: int, **more: Any) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": created,
        "owned_by": "driftgate",
        "driftgate": more,
    }
