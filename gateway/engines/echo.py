"""The stub engine: it answers with what it was asked. For tests and for laptops without vLLM.

Started by `driftgate serve --engine echo`, or by hand:

    python -m gateway.engines.echo --port 8101 --served-model-name any-name

What it answers and how to make it slow is described in `echo_server.py`.
"""

import argparse
import sys

from gateway.engines.base import EngineSpec, listen_arguments


class EchoEngine:
    """`EngineKind` of the stub; ready within a second, needs no model on disk."""

    def command(self, spec: EngineSpec) -> list[str]:
        return [
            sys.executable,
            "-m",
            "gateway.engines.echo",
            "--served-model-name",
            spec.release.id,
            *listen_arguments(spec.address),
        ]

    def environment(self, spec: EngineSpec) -> dict[str, str]:
        return {}


def main() -> None:
    """Serve until SIGTERM; requests in flight are finished first, for up to 30 s."""
    parser = argparse.ArgumentParser(prog="python -m gateway.engines.echo", description=__doc__)
    parser.add_argument("--served-model-name", required=True)
    parser.add_argument("--uds", help="Unix socket to listen on, instead of a port")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8101)
    arguments = parser.parse_args()

    # Here, so that the launcher, which only needs EchoEngine, does not load a web server.
    import uvicorn

    from gateway.engines.echo_server import EchoServer

    uvicorn.run(
        EchoServer(arguments.served_model_name),
        uds=arguments.uds,
        host=arguments.host,
        port=arguments.port,
        loop="uvloop",
        http="httptools",
        lifespan="off",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=30,
    )


if __name__ == "__main__":
    main()
