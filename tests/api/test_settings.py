"""Settings from defaults, environment and flags; what is refused before anything starts."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from sim_engine.settings import Settings, SettingsError, read_settings
from tests.api.server import run, serving, world


def test_defaults_are_safe():
    settings = read_settings(environment={})
    assert settings == Settings()
    assert settings.host == "127.0.0.1"
    assert settings.port == 3000
    assert settings.db_path == Path("sim.db")
    settings.check_exposure()


def test_environment_sets_everything():
    variables = {
        "HOST": "0.0.0.0",
        "PORT": "81",
        "DB_PATH": "/data/sim.db",
        "SIM_OPERATOR_KEY": "k" * 32,
        "SIM_ALLOW_OPEN": "1",
        "SIM_MAX_BODY_BYTES": "2048",
        "SIM_BODY_SECONDS": "1.5",
        "SIM_RATE_LIMIT": "0",
        "SIM_LOG_LEVEL": "WARNING",
    }
    assert {one.metadata["variable"] for one in fields(Settings)} == set(variables)
    assert read_settings(environment=variables) == Settings(
        host="0.0.0.0",
        port=81,
        db_path=Path("/data/sim.db"),
        operator_key="k" * 32,
        allow_open=True,
        max_body_bytes=2_048,
        body_seconds=1.5,
        rate_limit=0,
        log_level="warning",
    )


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("PORT", "http"),
        ("PORT", "65536"),
        ("PORT", "-1"),
        ("SIM_ALLOW_OPEN", "maybe"),
        ("SIM_MAX_BODY_BYTES", "1"),
        ("SIM_BODY_SECONDS", "0"),
        ("SIM_BODY_SECONDS", "nan"),
        ("SIM_RATE_LIMIT", "lots"),
        ("SIM_LOG_LEVEL", "loud"),
        ("SIM_OPERATOR_KEY", "two words"),
        ("SIM_OPERATOR_KEY", "schlüssel"),
    ],
)
def test_unusable_variable_is_named(variable: str, text: str):
    with pytest.raises(SettingsError, match=f"^{variable}: "):
        read_settings(environment={variable: text})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "", "192.168.1.5", "example.org"])
def test_an_open_engine_listens_on_loopback_only(host: str):
    with pytest.raises(SettingsError, match="SIM_OPERATOR_KEY"):
        Settings(host=host).check_exposure()
    Settings(host=host, operator_key="secret").check_exposure()
    Settings(host=host, allow_open=True).check_exposure()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_may_be_open(host: str):
    Settings(host=host).check_exposure()


def test_an_open_engine_that_others_could_reach_does_not_start(tmp_path: Path):
    said = run("serve", "--port", "0", cwd=tmp_path, HOST="0.0.0.0")
    assert said.returncode == 2
    assert said.stderr.startswith("sim-engine: HOST=0.0.0.0 can be reached from other machines")
    assert said.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_shows_every_setting_with_its_default(tmp_path: Path):
    said = run("serve", "--help", cwd=tmp_path, COLUMNS="300")
    assert said.returncode == 0
    for one in fields(Settings):
        assert one.metadata["variable"] in said.stdout
        if one.name not in ("operator_key", "allow_open"):
            assert f"default {one.default})" in said.stdout
    assert "--operator-key" not in said.stdout


def test_flags_override_the_environment(tmp_path: Path):
    with serving(tmp_path / "x.db", "--db-path", str(tmp_path / "y.db"), PORT="1") as server:
        assert server.port != 1
        assert (tmp_path / "y.db").exists()
        assert not (tmp_path / "x.db").exists()


def test_taken_port_is_named(tmp_path: Path):
    with serving(tmp_path / "a.db") as server:
        said = run("serve", "--port", str(server.port), "--db-path", "b.db", cwd=tmp_path)
    assert said.returncode == 2
    assert f"can not listen on 127.0.0.1:{server.port}" in said.stderr
    assert not (tmp_path / "b.db").exists()


def test_second_engine_on_a_file_does_not_start(tmp_path: Path):
    with serving(tmp_path / "sim.db"):
        said = run("serve", "--port", "0", cwd=tmp_path)
    assert said.returncode == 2
    assert "is open in another engine" in said.stderr
    assert "Traceback" not in said.stderr


def test_the_application_runs_under_a_server_of_ones_own(tmp_path: Path):
    uvicorn = ("uvicorn", "sim_engine.main:app", "--port", "0")
    with serving(tmp_path / "own.db", program=uvicorn) as server:
        with server.client() as client:
            assert client.post("/init", json=world(1)).status_code == 201
            assert client.get("/health?secret=1").status_code == 422
        assert (tmp_path / "own.db").exists()
        server.stop()
    (request, _) = server.lines("request")
    assert request["path"] == "/init"
    assert not [line for line in server.log if "secret" in line]
    assert all(line.startswith("time=") for line in server.log)


def test_the_application_under_a_server_of_ones_own_is_no_more_open(tmp_path: Path):
    uvicorn = ("uvicorn", "sim_engine.main:app", "--port", "0", "--host", "127.0.0.1")
    with serving(tmp_path / "own.db", program=uvicorn) as server, server.client() as client:
        answer = client.get("/config", headers={"Host": "rebound.example.com"})
        assert (answer.status_code, answer.json()["code"]) == (403, "foreign_page")
