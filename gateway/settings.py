"""Every setting of the gateway, read once at the edge: `DRIFTGATE_*` variables or `driftgate.env`.

Nothing below the composition roots (`app`, `server`, `commands`) reads the environment.
"""

import ipaddress
import os
from pathlib import Path
from typing import Literal

from pydantic import Field

from retrieval import places
from retrieval.secret_files import FileSettings


class Settings(FileSettings):
    """The gateway's configuration; a field `x` is the environment variable `DRIFTGATE_X`."""

    home: Path = Field(
        Path(".driftgate"), description="Folder of the database, models, logs and sockets."
    )
    models_dir: Path | None = Field(
        None, description="Folder of pulled models; empty: `models` in `home`."
    )
    database_url: str = Field(
        "",
        description="SQLAlchemy URL of the store (`postgresql+psycopg://…`); "
        "empty: SQLite in `home`.",
    )
    ledger_url: str = Field(
        "",
        pattern="^((redis|rediss|unix)://.+)?$",
        description="Where the use of keys with limits is counted: `redis://…`, or empty: "
        "the store.",
    )
    limits_fail_open: bool = Field(
        True,
        description="While the ledger is away, admit requests and book them later; off: 503.",
    )
    reserve_tokens: int = Field(
        512,
        ge=1,
        description="Tokens of an answer that count against a key's limits until its real usage "
        "is known, where a request sets no maximum.",
    )
    host: str = Field("127.0.0.1", description="Address that the gateway binds.")
    port: int = Field(8080, ge=0, le=65535, description="Port that the gateway binds.")
    workers: int = Field(1, ge=1, le=256, description="Gateway worker processes.")
    model: str = Field(
        "smollm2-135m-instruct",
        description="Model that `driftgate serve` pulls and registers when there is no release.",
    )
    embedder: str = Field(
        "all-minilm-l6-v2", description="Embedding model of `/v1/embeddings`; empty: none."
    )
    reranker: str = Field(
        "",
        description="Folder of a cross-encoder with which the retrieval service orders the best "
        "20 hits of a search again; empty: none. Searches for chat must still keep their deadline.",
    )
    retrieval_deadline_ms: float = Field(
        150.0,
        gt=0,
        description="Time that a search for a chat request may take, in milliseconds; above it "
        "the plain model answers.",
    )
    retrieval_holdout: float = Field(
        0.05,
        ge=0,
        le=0.5,
        description="Share of the requests that `auto` would retrieve for which are answered "
        "without, to measure the benefit.",
    )
    retrieval_insufficient_text: str = Field(
        "I could not find the answer in the documents.",
        min_length=1,
        description="The answer where the documents do not hold one and `insufficient` is "
        "`say_so`.",
    )
    engine: Literal["vllm", "echo"] = Field(
        "vllm", description="What runs a release: `vllm`, or the stub `echo`."
    )
    engine_host: str = Field(
        "",
        description="Address that engines bind and publish (several hosts, containers); "
        "empty: private Unix sockets.",
    )
    engine_port: int = Field(
        8101,
        ge=1,
        le=65535,
        description="Port of the blue engine when `engine_host` is set; green takes the next one.",
    )
    engine_args: str = Field(
        "", description="Further arguments for vLLM, split as a shell would, without a shell."
    )
    engine_start_timeout_s: float = Field(
        600.0, gt=0, description="Time an engine may take until it is ready, in seconds."
    )
    engine_stop_timeout_s: float = Field(
        30.0, gt=0, description="Time an engine may take to finish its requests, in seconds."
    )
    slots: int = Field(
        2,
        ge=1,
        le=2,
        description="Engines that this machine has memory for; 1: a candidate is an adapter in the "
        "running engine, and requests wait while its merged release takes the engine's place.",
    )
    max_lora_rank: Literal[8, 16, 32, 64, 128, 256, 320, 512] = Field(
        16, description="Highest rank of an adapter that an engine takes, where `slots` is 1."
    )
    swap_wait_s: float = Field(
        180.0,
        ge=0,
        description="Time a request may wait for the engine that takes another's place, in "
        "seconds, where `slots` is 1; above it: 503.",
    )
    signing_key: Path | None = Field(
        None,
        description="File of the key that signs certificates of releases (PEM); empty: "
        "`signing.key` in `home`, made on first use.",
    )
    console_secret: Path | None = Field(
        None,
        description="File of the secret that signs the console's sessions, the same for all hosts; "
        "empty: `console.secret` in `home`, made on first use.",
    )
    tracing_endpoint: str = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", ""),
        validate_default=True,
        pattern="^(https?://.+)?$",
        description="Collector that spans are sent to by OTLP over HTTP, such as "
        "`http://localhost:4318`; empty: `OTEL_EXPORTER_OTLP_ENDPOINT`, and without it none are.",
    )
    tracing_headers: str = Field(
        default_factory=lambda: os.environ.get("OTEL_EXPORTER_OTLP_HEADERS", ""),
        validate_default=True,
        repr=False,
        pattern="^([^=,]+=[^,]*(,[^=,]+=[^,]*)*)?$",
        description="Headers for it, `name=value,name=value`; empty: `OTEL_EXPORTER_OTLP_HEADERS`.",
    )
    tracing_share: float = Field(
        1.0,
        ge=0,
        le=1,
        description="Share of the requests that are traced, where the client's "
        "`traceparent` does not say.",
    )
    max_model_len: int = Field(2048, ge=128, description="Longest context of the engine, tokens.")
    kv_cache_gib: int = Field(1, ge=1, description="KV cache of a CPU engine, in GiB.")
    max_body_bytes: int = Field(
        10 * 2**20, ge=1024, description="Largest request body, in bytes; above it: 413."
    )
    max_file_bytes: int = Field(
        512 * 2**20, ge=1024, description="Largest uploaded file, in bytes; above it: 413."
    )
    training_worker: bool = Field(
        True,
        description="`driftgate serve` also runs a worker for fine-tuning jobs, where the "
        "`training` extra is installed.",
    )
    worker_gateway_url: str = Field(
        "", description="Where workers ask their questions; empty: port `port` of this machine."
    )
    monitor: bool = Field(
        True,
        description="`driftgate serve` also runs the monitor, where the `monitoring` extra is "
        "installed.",
    )
    max_response_bytes: int = Field(
        64 * 2**20, ge=1024, description="Largest answer of an engine that is relayed, in bytes."
    )
    body_timeout_s: float = Field(
        30.0,
        gt=0,
        description="Time a client may take to send its body, in seconds, and one more for each "
        "16 KiB that have come.",
    )
    header_timeout_s: float = Field(
        10.0, gt=0, description="Time a client may take to send its headers, in seconds."
    )
    keep_alive_s: float = Field(
        75.0, gt=0, description="Time an idle connection of a client is kept, in seconds."
    )
    max_connections: int = Field(
        8192, ge=1, description="Connections of clients to one worker; above it: 503."
    )
    max_concurrency: int = Field(
        1024, ge=1, description="Inference requests that one worker serves at once; more wait."
    )
    max_queue: int = Field(
        1024, ge=0, description="Inference requests that may wait in one worker; above it: 503."
    )
    queue_timeout_s: float = Field(
        30.0, gt=0, description="Time an inference request may wait, in seconds; above it: 503."
    )
    prefix_affinity: bool = Field(
        False,
        description="Send prompts that begin alike to the same engine, for its prefix cache.",
    )
    health_period_s: float = Field(
        1.0, gt=0, description="How often a worker asks each engine for its health, in seconds."
    )
    connect_timeout_s: float = Field(
        2.0, gt=0, description="Time to connect to an engine, in seconds."
    )
    first_token_timeout_s: float = Field(
        300.0, gt=0, description="Time until an engine's first byte, in seconds; above it: 504."
    )
    idle_timeout_s: float = Field(
        60.0, gt=0, description="Longest silence inside an engine's answer, in seconds."
    )
    refresh_s: float = Field(
        0.5, gt=0, description="How often a worker re-reads aliases, engines and keys, in seconds."
    )
    record_texts: bool = Field(
        True,
        description="Keep prompts, answers and passages in the traffic log; off: only the numbers.",
    )
    record_spool_bytes: int = Field(
        256 * 2**20,
        ge=1,
        description="Bytes of traffic records that may wait on disk; above it: dropped.",
    )
    record_text_bytes: int = Field(
        2**20, ge=0, description="Bytes of an answer that are kept for its record."
    )
    retention_days: float = Field(
        30.0, gt=0, description="Age at which traffic records and feedback are deleted, in days."
    )
    drain_delay_s: float = Field(
        1.0,
        ge=0,
        description="Time after SIGTERM in which connections are still taken, while "
        "`/health/ready` already says no, in seconds.",
    )
    drain_timeout_s: float = Field(
        30.0, gt=0, description="Time that streams get to finish after SIGTERM, in seconds."
    )

    def resolved_database_url(self) -> str:
        """Return the store's SQLAlchemy URL, the default one included."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'driftgate.db'}"

    def url(self) -> str:
        """Return the address at which a client on this machine reaches the gateway."""
        anywhere = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - not bound here
        host = anywhere.get(self.host, self.host)
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def signing_key_path(self) -> Path:
        """Return the file of the key that signs certificates."""
        return self.signing_key or self.home.absolute() / "signing.key"

    def resolved_models_dir(self) -> Path:
        """Return the folder of pulled models."""
        return self.models_dir or self.home.absolute() / "models"

    def is_loopback(self) -> bool:
        """Return whether only this machine can reach the gateway."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    def files_dir(self) -> Path:
        """Return the folder of uploaded files."""
        return self.home.absolute() / "files"

    def indexes_dir(self) -> Path:
        """Return the folder of the retrieval service's collections."""
        return self.home.absolute() / "indexes"

    def retrieval_socket(self) -> Path:
        """Return the socket that the retrieval service of this host serves on."""
        return places.retrieval_socket(self.home)

    def spool_dir(self) -> Path:
        """Return the folder of traffic records that wait to be written to the store."""
        return self.home.absolute() / "spool"

    def run_dir(self) -> Path:
        """Return the folder of the Unix sockets: in `home`, or in /tmp where that is too long."""
        return places.run_dir(self.home)
