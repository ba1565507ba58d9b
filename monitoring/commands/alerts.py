"""`driftgate monitor alerts`: see alerts come and go, with a Prometheus of one's own."""

import json
import signal
import sys
import threading
import time
from dataclasses import asdict
from typing import Annotated
from urllib.parse import urlsplit

import typer
from rich.console import Console
from rich.text import Text

from monitoring.alerting import Alert, AlertsUnavailable, prometheus
from monitoring.settings import MonitorSettings

_PERIOD_S = 2.0


def alerts(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of Prometheus's page.")] = 9090,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON each.")] = False,
) -> None:
    """Run Prometheus with Driftgate's rules beside this gateway; tell alerts until Ctrl-C."""
    settings, over = MonitorSettings(), threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    gateway = urlsplit(settings.monitor_gateway_url).netloc
    monitor = f"{settings.monitor_host}:{settings.monitor_port}"
    console = Console(highlight=False)
    try:
        with prometheus(settings.folder() / "prometheus", port, gateway, monitor) as watch:
            if not as_json:
                console.print(
                    f"Prometheus: {watch.url}/alerts; it scrapes {gateway} and {monitor}. "
                    "Alerts come and go below; stop the service to see one."
                )
            while not over.wait(_PERIOD_S):
                began, ended = watch.changes()
                for state, changed in (("firing", began), ("resolved", ended)):
                    for alert in changed:
                        _tell(console, state, alert, as_json)
    except AlertsUnavailable as error:
        print(f"{error}.", file=sys.stderr)
        raise typer.Exit(2) from None


def _tell(console: Console, state: str, alert: Alert, as_json: bool) -> None:
    if as_json:
        told = asdict(alert) | {"labels": dict(alert.labels), "state": state, "at": time.time()}
        typer.echo(json.dumps(told))
        return
    colour = (
        "green" if state == "resolved" else "bold red" if alert.severity == "page" else "yellow"
    )
    line = Text(f"{time.strftime('%H:%M:%S')}  {state:<8}  {alert.name}", colour)
    line.append(f"  {alert.summary}", "none")
    if state == "firing" and alert.runbook:
        line.append(f"  ({alert.runbook})", "dim")
    console.print(line)
