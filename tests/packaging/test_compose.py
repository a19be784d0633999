"""docker-compose.yml against the compose specification and against what the docs promise."""

import json
import subprocess
import sys
from typing import Any

import pytest
import yaml

from tests.packaging.dockerfiles import ROOT, stages

FILE = ROOT / "docker-compose.yml"
COMPOSE: dict[str, Any] = yaml.safe_load(FILE.read_text("utf-8"))
SERVICES: dict[str, Any] = COMPOSE["services"]
ENGINE, ORCHESTRATOR = SERVICES["engine"], SERVICES["orchestrator"]


def schema_errors(text: str) -> str:
    """Validate a compose file, given as text, with the schema that check-jsonschema carries."""
    checked = subprocess.run(
        [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec",
         "--default-filetype", "yaml", "-"],
        input=text, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    return "" if checked.returncode == 0 else checked.stdout + checked.stderr


def test_file_obeys_the_compose_specification():
    assert schema_errors(FILE.read_text("utf-8")) == ""


def test_schema_finds_a_misspelt_condition():
    assert "service_helthy" in schema_errors(
        FILE.read_text("utf-8").replace("service_healthy", "service_helthy")
    )


@pytest.mark.parametrize("name", ["engine", "orchestrator"])
def test_each_service_is_built_from_its_dockerfile(name: str):
    assert set(SERVICES) == {"engine", "orchestrator"}
    assert SERVICES[name]["build"] == {"context": ".", "dockerfile": f"Dockerfile.{name}"}
    assert (ROOT / f"Dockerfile.{name}").is_file()


@pytest.mark.parametrize("name", ["engine", "orchestrator"])
def test_each_service_has_only_the_rights_it_needs(name: str):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert not {"privileged", "network_mode", "pid", "cap_add", "devices"} & set(service)


@pytest.mark.parametrize("name", ["engine", "orchestrator"])
def test_each_service_writes_into_a_named_volume_only(name: str):
    image = stages(f"Dockerfile.{name}")[-1]
    (volume,) = SERVICES[name]["volumes"]
    source, _, target = volume.partition(":")
    assert source in COMPOSE["volumes"]
    assert target == image.last("VOLUME")
    assert any("--owner sim" in run and target in run.split() for run in image.values("RUN"))


def test_an_open_engine_is_published_on_loopback_only():
    image = stages("Dockerfile.engine")[-1]
    environment = ENGINE["environment"]
    assert environment["SIM_ALLOW_OPEN"] == "1"
    assert ENGINE["ports"] == [f"127.0.0.1:3000:{environment['PORT']}"]
    assert "ports" not in ORCHESTRATOR
    assert {name: environment[name] for name in image.environment() if name in environment} == {
        "HOST": "0.0.0.0",
        "PORT": image.last("EXPOSE"),
        "DB_PATH": f"{image.last('VOLUME')}/sim.db",
    }


def test_health_check_is_that_of_the_image():
    command = stages("Dockerfile.engine")[-1].last("HEALTHCHECK").partition("CMD")[2]
    assert ENGINE["healthcheck"]["test"] == ["CMD", *json.loads(command)]
    assert "/health" in ENGINE["healthcheck"]["test"][-1]


def test_orchestrator_waits_for_a_healthy_engine_and_reaches_ollama_on_the_host():
    assert ORCHESTRATOR["depends_on"] == {"engine": {"condition": "service_healthy"}}
    assert ORCHESTRATOR["extra_hosts"] == ["host.docker.internal:host-gateway"]
    assert ORCHESTRATOR["environment"]["OLLAMA_HOST"] == "http://host.docker.internal:11434"
    port = ENGINE["environment"]["PORT"]
    assert ORCHESTRATOR["environment"]["SIM_ENGINE_URL"] == f"http://engine:{port}"


def test_plain_up_starts_the_engine_alone():
    assert "profiles" not in ENGINE
    assert ORCHESTRATOR["profiles"] == ["run"]
