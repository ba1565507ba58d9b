"""Reports are read by browsers, and nothing else of the machine is."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from gateway.store.database import Database
from monitoring.exporter import Exporter
from tests.monitoring.watched import watched


@pytest.fixture
def database(empty_store: Path, tmp_path: Path) -> Iterator[Database]:
    shutil.copy(empty_store, tmp_path / "x.db")
    opened = Database(f"sqlite:///{tmp_path / 'x.db'}")
    yield opened
    opened.close()


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    folder = tmp_path / "reports"
    (folder / "production").mkdir(parents=True)
    (folder / "production" / "latest.html").write_text("<h1>Grüße</h1>")
    (folder / "production" / ".hidden.html").write_text("hidden")
    (folder / "production" / "rows.parquet").write_bytes(b"rows")
    (tmp_path / "secret.html").write_text("secret")
    (folder / "link.html").symlink_to(tmp_path / "secret.html")
    return folder


@pytest.fixture
def exporter(database: Database, reports: Path) -> Iterator[Exporter]:
    made = Exporter(database, port=0, reports=reports)
    made.start()
    yield made
    made.close()


def test_a_report_comes_in_a_sandbox(exporter: Exporter) -> None:
    answer = httpx.get(f"{exporter.url}/reports/production/latest.html")
    assert answer.text == "<h1>Grüße</h1>"
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("sandbox allow-scripts")
    assert "default-src 'none'" in policy
    assert "allow-same-origin" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize(
    "path",
    [
        "/reports/../secret.html",
        "/reports/%2e%2e/secret.html",
        "/reports/production/..%2f..%2fsecret.html",
        "/reports//etc/passwd",
        "/reports/%2fetc%2fpasswd",
        "/reports/link.html",
        "/reports/production/.hidden.html",
        "/reports/production/rows.parquet",
        "/reports/production",
        "/reports/production/",
        "/reports/production/latest.html%00.html",
        "/reports/none.html",
        "/reports/",
        "/",
    ],
)
def test_nothing_else_is_to_be_had(exporter: Exporter, path: str) -> None:
    import http.client

    address = exporter.url.removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=10)  # sends the path as it is
    connection.request("GET", path)
    answer = connection.getresponse()
    assert answer.status == 404
    assert b"secret" not in answer.read()
    connection.close()


def test_the_latest_report_of_an_alias_is_found(database: Database, exporter: Exporter) -> None:
    watched(database)
    for query in ("alias=production", "alias=production&release=production-1"):
        answer = httpx.get(f"{exporter.url}/reports/latest?{query}", follow_redirects=True)
        assert answer.text == "<h1>Grüße</h1>", query
    for query in ("", "alias=other", "alias=production&release=other"):
        assert httpx.get(f"{exporter.url}/reports/latest?{query}").status_code == 404, query


def test_reports_on_an_open_address_need_the_token(database: Database, reports: Path) -> None:
    exporter = Exporter(database, "0.0.0.0", 0, token=None, reports=reports)
    exporter.start()
    url = exporter.url.replace("0.0.0.0", "127.0.0.1")
    answer = httpx.get(f"{url}/reports/production/latest.html")
    assert answer.status_code == 403
    assert "DRIFTGATE_MONITOR_TOKEN_FILE" in answer.text
    exporter.close()


def test_a_browser_shows_the_token_as_a_password(database: Database, reports: Path) -> None:
    exporter = Exporter(database, port=0, token="hush", reports=reports)
    exporter.start()
    url = f"{exporter.url}/reports/production/latest.html"
    asked = httpx.get(url)
    assert asked.status_code == 401
    assert asked.headers["www-authenticate"].startswith("Basic")
    assert httpx.get(url, auth=("any", "hush")).status_code == 200
    assert httpx.get(url, headers={"authorization": "Bearer hush"}).status_code == 200
    for wrong in ("Bearer hus", "Bearer", "Basic hush", "Basic !", "Digest hush", ""):
        assert httpx.get(url, headers={"authorization": wrong}).status_code == 401, wrong
    assert httpx.get(url, auth=("hush", "any")).status_code == 401
    exporter.close()
