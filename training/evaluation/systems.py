"""From the spec of a system to something that answers."""

import os

from training.evaluation.answerers.base import Answerer, AnswererError, Sampling, System


def open_answerer(
    system: System, sampling: Sampling, *, concurrency: int, timeout_s: float, batch: int
) -> Answerer:
    """Return what answers for a system.

    Raises:
        AnswererError: The spec is neither an endpoint nor a model folder, or its key is not set.
    """
    if system.spec.startswith(("http://", "https://")):
        from training.evaluation.answerers.openai_endpoint import OpenAIEndpoint

        return OpenAIEndpoint(
            system, key_of(system), sampling, concurrency=concurrency, timeout_s=timeout_s
        )
    if system.extra_body:
        raise AnswererError(f"{system.name}: a model folder takes no extra body")
    from training.evaluation.answerers.local import LocalModel

    return LocalModel(system, sampling, batch=batch)


def key_of(system: System) -> str:
    """Return the API key of a system, or nothing where it has none.

    Raises:
        AnswererError: Its variable is not set, or holds no key.
    """
    key = os.environ.get(system.key_env, "") if system.key_env else ""
    if system.key_env and not key:
        raise AnswererError(f"{system.name}: the variable {system.key_env} is not set")
    if not key.isascii() or not key.isprintable():
        raise AnswererError(f"{system.name}: the variable {system.key_env} holds no API key")
    return key
