"""The monitor's own HTTP server: metrics, reports, and the webhook for Alertmanager."""

import threading
import time
from collections.abc import Iterable
from pathlib import Path

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from gateway.store.database import Database
from gateway.store.monitoring import Monitoring
from monitoring.collector import StoreCollector
from monitoring.exporter_server import ExporterServer, Parts
from monitoring.report_files import ReportFiles
from monitoring.webhook import Webhook


class Exporter:
    """Serves `/metrics`, `/reports/…` and `POST /alertmanager` in threads of its own.

    Args:
        database: The store.
        host: Address to listen on.
        port: Its port; 0: any, see `url`.
        token: What Alertmanager and readers of reports must show. Without one there is no webhook,
            and reports are to be had only where the server listens on loopback.
        reports: The folder of reports; None: none are served.
        budgets: Whether the ledger of budgets is in the store; it is not where it is in Redis.
    """

    def __init__(
        self,
        database: Database,
        host: str = "127.0.0.1",
        port: int = 9465,
        token: str | None = None,
        reports: Path | None = None,
        *,
        budgets: bool = True,
    ) -> None:
        self._address = (host, port)
        self._cycles = _Cycles()
        registry = CollectorRegistry()
        registry.register(StoreCollector(database, budgets=budgets))
        registry.register(self._cycles)
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._parts = Parts(
            registry=registry,
            webhook=Webhook(database),
            monitoring=Monitoring(database),
            reports=None if reports is None else ReportFiles(reports),
            token=token,
        )
        self._server: ExporterServer | None = None

    def start(self) -> None:
        """Listen, and answer from now on.

        Raises:
            OSError: The address cannot be had.
        """
        self._server = ExporterServer(self._address, self._parts)
        # Each look whether it is to end costs 0.1 ms of CPU: twice a second is enough.
        threading.Thread(
            target=self._server.serve_forever, args=(0.5,), name="exporter", daemon=True
        ).start()

    def close(self) -> None:
        """Answer no more."""
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None

    @property
    def url(self) -> str:
        """Where it listens, once started."""
        if self._server is None:
            raise RuntimeError("the exporter was not started")
        host, port = self._server.server_address[:2]
        return f"http://[{host!s}]:{port}" if ":" in str(host) else f"http://{host!s}:{port}"

    def cycle_ended(self, seconds: float) -> None:
        """Tell of a cycle of the monitor that went well, and how long it took."""
        self._cycles.last = time.time(), seconds

    def cycle_failed(self) -> None:
        """Tell of a cycle that failed."""
        self._cycles.failed += 1


class _Cycles(Collector):
    """The monitor's own cycles; before the first there is no time of one."""

    def __init__(self) -> None:
        self.last: tuple[float, float] | None = None
        self.failed = 0

    def collect(self) -> Iterable[Metric]:
        if self.last is not None:
            at, seconds = self.last
            yield GaugeMetricFamily(
                "driftgate_monitor_last_cycle_timestamp_seconds",
                "When the monitor last looked at all aliases.",
                value=at,
            )
            yield GaugeMetricFamily(
                "driftgate_monitor_cycle_seconds", "How long that took.", value=seconds
            )
        yield CounterMetricFamily(
            "driftgate_monitor_cycles_failed",
            "Times that the monitor could not look at all aliases.",
            value=self.failed,
        )
