"""The Makefile on machines that lack something, and what its targets would run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.packaging.dockerfiles import ROOT

FROM_MAKE = {"MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS", "MAKELEVEL", "PYTHON", "ARGS"}
"""What a make that runs these tests hands down, as with `make PYTHON=python3.13 test`."""

TARGETS = ("demo", "test", "lint", "bench", "engine", "simulate", "soak")


def make(*arguments: str, folder: Path = ROOT, path: str | None = None) -> tuple[int, str]:
    """Run make and give its exit code with all that it said."""
    environment = {name: value for name, value in os.environ.items() if name not in FROM_MAKE}
    said = subprocess.run(
        ["make", "--no-print-directory", *arguments],
        cwd=folder, env=environment | ({"PATH": path} if path else {}), timeout=60,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    return said.returncode, said.stdout


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Give a folder with the Makefile and what its targets depend on, and no .venv."""
    shutil.copy(ROOT / "Makefile", tmp_path)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    shutil.copytree(ROOT / "requirements", tmp_path / "requirements")
    return tmp_path


def machine(folder: Path, python3: str | None) -> str:
    """Make a PATH with the usual tools and with `python3` being the given shell script."""
    programs = folder / "programs"
    programs.mkdir()
    for name in ("make", "sh", "sed", "rm", "touch", "find"):
        found = shutil.which(name)
        assert found, f"{name} is not installed"
        (programs / name).symlink_to(found)
    if python3 is not None:
        (programs / "python3").write_text("#!/bin/sh\n" + python3, "utf-8")
        (programs / "python3").chmod(0o755)
    return str(programs)


OLD = 'case "$1" in --version) echo Python 3.9.2;; *) exit 1;; esac'
WITHOUT_VENV = 'case "$*" in *ensurepip*) exit 1;; *) exit 0;; esac'


@pytest.mark.parametrize(
    ("python3", "sentence"),
    [
        (None, "sim-economy needs Python 3.11 or newer; found: none."),
        (OLD, "sim-economy needs Python 3.11 or newer; found: Python 3.9.2."),
        (WITHOUT_VENV, "python3 has no venv module."),
    ],
    ids=["none", "old", "without venv"],
)
def test_a_machine_without_what_is_needed_is_told_so(
    clone: Path, python3: str | None, sentence: str
):
    code, said = make("test", folder=clone, path=machine(clone, python3))
    assert code != 0
    assert sentence in said
    assert not (clone / ".venv").exists()


def test_an_interpreter_can_be_named(clone: Path):
    code, said = make(f"PYTHON={sys.executable}", ".venv/bin/python", folder=clone)
    assert code == 0, said
    assert (clone / ".venv/bin/python").exists()


@pytest.mark.parametrize("target", TARGETS)
def test_each_target_makes_its_environment_first(clone: Path, target: str):
    code, said = make("--dry-run", target, folder=clone)
    assert code == 0, said
    lines = said.splitlines()
    created = next(i for i, line in enumerate(lines) if "-m venv .venv" in line)
    installed = next(i for i, line in enumerate(lines) if "--editable ." in line)
    assert created < installed < len(lines) - 1


def test_help_names_every_target():
    code, said = make("help")
    assert code == 0
    named = {line.split()[1] for line in said.splitlines()}
    assert named == {*TARGETS, "help", "format", "lock", "clean"}


def test_clean_keeps_the_data(clone: Path):
    for name in ("sim.db", "runs/one/run.json", ".venv/bin/python", "sim_engine/__pycache__/x.pyc"):
        (clone / name).parent.mkdir(parents=True, exist_ok=True)
        (clone / name).write_text("")
    assert make("clean", folder=clone)[0] == 0
    left = {str(path.relative_to(clone)) for path in clone.rglob("*") if path.is_file()}
    assert {"sim.db", "runs/one/run.json", "Makefile"} <= left
    assert not any(".venv" in name or "__pycache__" in name for name in left)


def test_ci_runs_what_developers_run():
    script = (ROOT / ".ci" / "run").read_text("utf-8")
    assert "make lint test" in script
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
