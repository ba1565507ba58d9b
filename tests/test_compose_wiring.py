"""The services of the container files find each other, and share what has to be one."""

import re

import pytest
import yaml

from gateway.hub import slug
from gateway.settings import Settings
from monitoring.settings import MonitorSettings
from retrieval.places import run_dir
from tests.composed import COMPOSE, DEFAULTS, ENGINES, NGINX, ROOT, SERVICES, WORKERS


def test_only_nginx_is_published_and_only_here() -> None:
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published == {"proxy": [f"127.0.0.1:{DEFAULTS['port']}:8080"]}
    assert "listen 8080;" in NGINX


def test_nginx_knows_the_gateways_and_does_not_hold_streams_back() -> None:
    gateway, proxy = SERVICES["gateway"], SERVICES["proxy"]
    assert gateway["deploy"]["replicas"] == 2
    assert f"server gateway:{DEFAULTS['port']} resolve;" in NGINX
    assert set(gateway["networks"]) & set(proxy["networks"]) == {"front"}
    path = proxy["command"][2]
    assert f"./deploy/nginx.conf:{path}:ro" in proxy["volumes"]
    for line in ("proxy_buffering off;", "proxy_request_buffering off;", "proxy_http_version 1.1;"):
        assert line in NGINX
    # The gateway, not nginx, says that an engine is late.
    patience = re.search(r"proxy_read_timeout (\d+)s;", NGINX)
    assert patience is not None
    assert int(patience[1]) > DEFAULTS["first_token_timeout_s"]
    written = re.findall(r"^(?:pid|\s+\w+_path) (\S+);", NGINX, re.MULTILINE)
    assert len(written) == 6
    assert all(each.startswith("/tmp/") for each in written)


def test_replicas_share_what_has_to_be_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["gateway"]["environment"].items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    assert str(settings.console_secret) == "/run/secrets/console_secret"
    assert "console_secret" in SERVICES["gateway"]["secrets"]
    signing = settings.signing_key_path().parent
    assert f"signing:{signing}:ro" in SERVICES["gateway"]["volumes"]
    for name in WORKERS:
        worker = SERVICES[name]
        assert f"signing:{signing}" in worker["volumes"]
        assert f"models:{settings.resolved_models_dir()}" in worker["volumes"]
        assert f"files:{settings.files_dir()}" in worker["volumes"]
        assert f"work:{settings.home}" in worker["volumes"]
        url = worker["environment"]["DRIFTGATE_WORKER_GATEWAY_URL"]
        assert url == f"http://gateway:{DEFAULTS['port']}"
    assert {SERVICES[name]["profiles"][0] for name in WORKERS} == {"cpu", "gpu"}


def test_networks_keep_the_engine_apart() -> None:
    networks = COMPOSE["networks"]
    assert networks["core"]["internal"]
    assert networks["watch"]["internal"]
    members = {name for name, s in SERVICES.items() if "core" in s.get("networks", ())}
    assert members == {
        "postgres",
        "migrate",
        "gateway",
        "pull-model",
        "monitor",
        "prometheus",
        *ENGINES,
        *WORKERS,
    }
    for name in ENGINES:
        engine = SERVICES[name]
        # One network: the name that the engine binds must be one address.
        assert set(engine["networks"]) == {"core"}
        host = engine["environment"]["DRIFTGATE_ENGINE_HOST"]
        assert engine["hostname"] == host
        assert engine["networks"]["core"]["aliases"] == [host]
        check = engine["healthcheck"]["test"][3]
        assert f"({DEFAULTS['engine_port']}, {DEFAULTS['engine_port'] + 1})" in check
        assert f'"{host}"' in check
        assert any(m.startswith("/tmp:") and "exec" in m.split(",") for m in engine["tmpfs"])
    assert {SERVICES[name]["profiles"][0] for name in ENGINES} == {"cpu", "gpu"}
    devices = SERVICES["engine-gpu"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]


def test_retrieval_and_gateway_share_the_socket(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["gateway"]["environment"].items():
        monkeypatch.setenv(key, value)
    settings = Settings()
    command = SERVICES["retrieval"]["command"]
    options = dict(zip(command[3::2], command[4::2], strict=True))
    assert options["--socket"] == str(settings.run_dir() / "retrieval.sock")
    assert options["--socket"] in SERVICES["retrieval"]["healthcheck"]["test"][3]
    assert options["--model"] == str(settings.resolved_models_dir() / slug(settings.embedder))
    assert options["--indexes"] == str(settings.indexes_dir())
    assert options["--files"] == str(settings.files_dir())
    shared = f"run:{settings.run_dir()}"
    assert shared in SERVICES["retrieval"]["volumes"]
    assert shared in SERVICES["gateway"]["volumes"]
    files = f"files:{settings.files_dir()}"
    assert files in SERVICES["gateway"]["volumes"]
    assert f"{files}:ro" in SERVICES["retrieval"]["volumes"]
    assert f"indexes:{settings.indexes_dir()}" in SERVICES["retrieval"]["volumes"]
    assert SERVICES["retrieval"]["user"] == SERVICES["gateway"]["user"]
    assert SERVICES["pull-embedder"]["command"][-1] == settings.embedder
    assert SERVICES["pull-model"]["command"][-1] == settings.model


def test_the_monitor_is_where_the_others_look_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for key, value in SERVICES["monitor"]["environment"].items():
        monkeypatch.setenv(key, value)
    settings = MonitorSettings()
    assert f"monitoring:{settings.folder()}" in SERVICES["monitor"]["volumes"]
    assert f"run:{run_dir(settings.home)}" in SERVICES["monitor"]["volumes"]
    assert f":{settings.monitor_port}/metrics" in SERVICES["monitor"]["healthcheck"]["test"][3]
    address = f"monitor:{settings.monitor_port}"
    for file in ("prometheus/prometheus.yml", "alertmanager/alertmanager.yml"):
        assert address in (ROOT / "monitoring" / file).read_text()
    assert "alertmanager:9093" in (ROOT / "monitoring/prometheus/prometheus.yml").read_text()
    for name in ("monitor", "alertmanager"):
        assert "monitor_token" in SERVICES[name]["secrets"]
    provider = yaml.safe_load((ROOT / "grafana/provisioning/dashboards/driftgate.yaml").read_text())
    folder = provider["providers"][0]["options"]["path"]
    assert f"./grafana/dashboards:{folder}:ro" in SERVICES["grafana"]["volumes"]


def test_prometheus_scrapes_the_gateway_and_grafana_reads_prometheus() -> None:
    config = yaml.safe_load((ROOT / "monitoring/prometheus/prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in config["scrape_configs"]}
    assert set(jobs) == {"gateway", "monitor", "engines"}
    for each in jobs.values():
        for part in each.get("static_configs", ()):
            for address in part["targets"]:
                name = address.partition(":")[0]
                served = ENGINES if name == "engine" else {name}
                for one in served:
                    networks = set(SERVICES[one]["networks"])
                    assert networks & set(SERVICES["prometheus"]["networks"]), address
    job = jobs["gateway"]
    (found,) = job["dns_sd_configs"]  # every replica by itself
    (host,), port = found["names"], found["port"]
    assert (found["type"], port) == ("A", DEFAULTS["port"])
    assert job["metrics_path"] == "/metrics"
    assert f'"127.0.0.1", {port}' in SERVICES[host]["healthcheck"]["test"][3]
    assert set(SERVICES[host]["networks"]) & set(SERVICES["prometheus"]["networks"])
    sources = yaml.safe_load(
        (ROOT / "grafana/provisioning/datasources/prometheus.yaml").read_text()
    )
    assert sources["datasources"][0]["url"] == "http://prometheus:9090"
    assert set(SERVICES["grafana"]["networks"]) & set(SERVICES["prometheus"]["networks"])
