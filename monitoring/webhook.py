"""What Alertmanager tells: alerts that a model got worse become requests to retrain it.

The body is version 4 of https://prometheus.io/docs/alerting/latest/configuration/#webhook_config.
Alertmanager repeats what still holds: an alert is known by its fingerprint and its beginning, and
asks once.
"""

from typing import Any, Literal

import msgspec

from gateway.store.database import Database
from gateway.store.monitoring import Monitoring, MonitorState
from gateway.store.overview import Overview
from gateway.store.retraining import Retraining

# These ask for a retraining, and any with the label `action="retrain"`.
_ALERT, _ACTION = "ModelDegraded", "retrain"


class BadWebhook(ValueError):
    """The body is not what Alertmanager sends, or an alert lacks what is needed.

    Args:
        message: What is wrong.
        field: Where, such as `alerts[0].labels.alias`.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class _Alert(msgspec.Struct):
    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: str
    fingerprint: str
    annotations: dict[str, str] = {}
    generatorURL: str = ""


class _Body(msgspec.Struct):
    version: Literal["4"]
    alerts: list[_Alert]


class Received(msgspec.Struct):
    """What came of a notification: ids of requests that are new, and known; alerts left alone."""

    opened: list[str]
    known: list[str]
    ignored: int


class Webhook:
    """Opens requests to retrain.

    Args:
        database: The store.
    """

    def __init__(self, database: Database) -> None:
        self._requests = Retraining(database)
        self._monitoring = Monitoring(database)
        self._overview = Overview(database)

    def receive(self, body: bytes) -> Received:
        """Take in one notification; one that is wrong opens nothing.

        Raises:
            BadWebhook: It is not Alertmanager's, or names no alias that there is.
            StoreError: The store is away: Alertmanager tries again.
        """
        alerts = _read(body).alerts
        asking = [(n, each) for n, each in enumerate(alerts) if _asks(each)]
        wishes = [(alert, *self._of(number, alert)) for number, alert in asking]
        received = Received([], [], len(alerts) - len(asking))
        for alert, alias, release in wishes:
            request, new = self._requests.open(
                alias,
                release,
                alert.annotations.get("summary") or alert.labels.get("alertname", "an alert"),
                "alert",
                self._evidence(alert, alias, release),
                cause=f"{alert.fingerprint} {alert.startsAt}",
            )
            (received.opened if new else received.known).append(request.id)
        return received

    def _of(self, number: int, alert: _Alert) -> tuple[str, str]:
        """Return the alias and the release that an alert is about."""
        field = f"alerts[{number}].labels.alias"
        alias = alert.labels.get("alias")
        if not alias:
            raise BadWebhook("an alert that asks for a retraining names an alias", field)
        targets = [t for t in self._overview.targets() if t.alias == alias]
        if not targets:
            raise BadWebhook(f"there is no alias {alias[:200]!r}", field)
        named = alert.labels.get("release")
        if named is not None:
            if named not in {target.release for target in targets}:
                raise BadWebhook(
                    f"{alias!r} does not point at a release {named[:200]!r}",
                    f"alerts[{number}].labels.release",
                )
            return alias, named
        live = [target for target in targets if target.mode == "live"]
        return alias, max(live or targets, key=lambda target: target.weight).release

    def _evidence(self, alert: _Alert, alias: str, release: str) -> dict[str, Any]:
        state = self._monitoring.state(alias, release)
        return {
            "labels": alert.labels,
            "annotations": alert.annotations,
            "since": alert.startsAt,
            "fingerprint": alert.fingerprint,
            "source": alert.generatorURL,
            "signals": {} if state is None else _signals(state),
        }


def _read(body: bytes) -> _Body:
    try:
        return msgspec.json.decode(body, type=_Body)
    except msgspec.ValidationError as error:
        # "Expected `str`, got `int` - at `$.alerts[0].status`", or without a place: the body.
        what, _, where = str(error).partition(" - at `$")
        raise BadWebhook(what, where.strip("`.") or "body") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadWebhook(f"not JSON: {error}", "body") from error


def _asks(alert: _Alert) -> bool:
    wanted = alert.labels.get("alertname") == _ALERT or alert.labels.get("action") == _ACTION
    return wanted and alert.status == "firing"


def _signals(state: MonitorState) -> dict[str, float]:
    return {name: signal["evidence"] for name, signal in state.signals.items()}
