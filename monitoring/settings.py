"""Every setting of the monitor, read once at the edge: `DRIFTGATE_*`, or `driftgate.env`."""

import re
import zlib
from pathlib import Path

from pydantic import Field, SecretStr

from monitoring.evidence.levels import Levels
from retrieval.secret_files import FileSettings


class MonitorSettings(FileSettings):
    """The monitor's configuration; a field `x` is the environment variable `DRIFTGATE_X`."""

    home: Path = Field(Path(".driftgate"), description="As the gateway's.")
    database_url: str = Field("", repr=False, description="As the gateway's.")
    ledger_url: str = Field("", repr=False, description="As the gateway's.")
    monitor_host: str = Field(
        "127.0.0.1", description="Address of the monitor's metrics, reports and webhook."
    )
    monitor_port: int = Field(9465, ge=0, le=65535, description="Port of the same.")
    monitor_token_file: Path | None = Field(
        None, description="File of the bearer token that Alertmanager shows; empty: no webhook."
    )
    monitor_period_s: float = Field(
        30.0, gt=0, description="How often the monitor looks for a full window, in seconds."
    )
    monitor_settle_s: float = Field(
        10.0, ge=0, description="Age at which a request is taken to be recorded, in seconds."
    )
    monitor_window: int = Field(50, ge=10, le=1000, description="Requests of a window.")
    monitor_window_every_s: float = Field(
        60.0,
        ge=0,
        description="Least time from the begin of a window to the next one's, in seconds; requests "
        "between them are judged in no window. 0: every request is.",
    )
    monitor_reference_rows: int = Field(
        5000,
        ge=100,
        le=20_000,
        description="Requests that make a release's reference, the first that it answers.",
    )
    monitor_false_alarm_windows: float = Field(
        43_200.0,
        gt=1,
        description="Mean number of windows between false alarms of drift; one a minute makes "
        "43,200 in 30 days.",
    )
    monitor_harm_alpha: float = Field(
        0.01,
        gt=0,
        lt=1,
        description="Chance that a harm signal ever alarms about a release as good as ever.",
    )
    monitor_tolerance: float = Field(
        0.05, ge=0, lt=1, description="How much a mean loss may rise above its baseline."
    )
    monitor_baseline: int = Field(
        200, ge=20, description="Losses that the baseline of a harm signal is made of."
    )
    monitor_report_windows: int = Field(
        480, ge=1, description="Windows after which a new report is written, beside each alarm."
    )
    monitor_keep_days: float = Field(
        90.0, gt=0, description="Age at which judged windows are deleted, in days."
    )
    monitor_probes_dir: Path | None = Field(
        None, description="Folder of golden probes, `<alias>.jsonl`; empty: `probes` in `home`."
    )
    monitor_probe_period_s: float = Field(
        3600.0, gt=0, description="How often golden probes are asked, in seconds."
    )
    monitor_gateway_url: str = Field(
        "http://127.0.0.1:8080", description="Where golden probes are asked."
    )
    monitor_api_key: SecretStr = Field(
        SecretStr(""), description="Key for golden probes; empty: they are not asked."
    )
    monitor_judge_url: str = Field(
        "", description="An OpenAI-compatible endpoint that judges answers; empty: none."
    )
    monitor_judge_model: str = Field("", description="Its model.")
    monitor_judge_key: SecretStr = Field(SecretStr(""), description="Its key.")
    monitor_judge_share: float = Field(
        0.05, ge=0, le=1, description="Share of the answers that are judged."
    )

    def resolved_database_url(self) -> str:
        """Return the store's SQLAlchemy URL, the default one included."""
        return self.database_url or f"sqlite:///{self.home.absolute() / 'driftgate.db'}"

    def folder(self) -> Path:
        """Return the folder of references, reports and the workspace."""
        return self.home.absolute() / "monitoring"

    def probes(self) -> Path:
        """Return the folder of golden probes."""
        return self.monitor_probes_dir or self.home.absolute() / "probes"

    def levels(self) -> Levels:
        """Return how sure the evidence must be."""
        return Levels(
            windows=self.monitor_false_alarm_windows,
            alpha=self.monitor_harm_alpha,
            tolerance=self.monitor_tolerance,
            baseline=self.monitor_baseline,
        )


def slug(*names: str) -> str:
    """Return a name of a file for an alias or a release, of safe characters and unique."""
    text = "/".join(names)
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', text)[:60]}-{zlib.crc32(text.encode()):08x}"
