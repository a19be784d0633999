"""Reads the Dockerfiles, so that tests can run what they run."""

import json
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]


@dataclass
class Stage:
    """One stage: its base image, its name and its instructions in order."""

    base: str
    name: str | None
    instructions: list[tuple[str, str]] = field(default_factory=list)

    def values(self, instruction: str) -> list[str]:
        """Give the values of every such instruction."""
        return [value for name, value in self.instructions if name == instruction]

    def last(self, instruction: str) -> str:
        """Give the value that counts: that of the last such instruction."""
        return self.values(instruction)[-1]

    def command(self, instruction: str) -> list[str]:
        """Give a command in exec form (a JSON list) as a list."""
        value = json.loads(self.last(instruction))
        assert isinstance(value, list)
        return value

    def environment(self) -> dict[str, str]:
        """Collect the variables that ENV sets."""
        pairs = [word.partition("=") for value in self.values("ENV") for word in shlex.split(value)]
        return {name: text for name, _, text in pairs}


def stages(name: str) -> list[Stage]:
    """Parse a Dockerfile of the project into its stages."""
    found: list[Stage] = []
    with (ROOT / name).open("rb") as file:
        for step in DockerfileParser(fileobj=file).structure:
            instruction, value = step["instruction"], step["value"]
            if instruction == "FROM":
                base, _, alias = value.partition(" AS ")
                found.append(Stage(base, alias or None))
            elif instruction != "COMMENT":
                found[-1].instructions.append((instruction, value))
    return found


def build(stage: Stage, root: Path, python: str) -> None:
    """Carry out a build stage below `root` instead of `/`: the same commands on the same files.

    Args:
        stage: its WORKDIR, COPY, ENV and RUN are carried out.
        root: an empty folder that stands for the image's file system.
        python: the interpreter that `python` means in the image.
    """
    (root / "bin").mkdir()
    (root / "bin" / "python").symlink_to(python)
    environment = dict(os.environ, PATH=f"{root}/bin:{os.environ['PATH']}")
    folder = root
    for instruction, value in stage.instructions:
        if instruction == "ENV":
            environment |= dict(word.split("=", 1) for word in shlex.split(value))
            environment.pop("PIP_NO_CACHE_DIR", None)  # outside an image a cache costs nothing
        elif instruction == "WORKDIR":
            folder = root / value.lstrip("/")
            folder.mkdir(parents=True, exist_ok=True)
        elif instruction == "COPY":
            copy(value.split(), folder)
        elif instruction == "RUN":
            command = re.sub(r"(?<![\w.])/opt/", f"{root}/opt/", value)
            subprocess.run(["/bin/sh", "-ec", command], cwd=folder, env=environment, check=True)
        else:
            raise AssertionError(
                f"the build stage has {instruction}, which this test does not know"
            )


def copy(paths: list[str], folder: Path) -> None:
    """Do what COPY does with files of the project, honouring .dockerignore."""
    *sources, target = paths
    for source in sources:
        here = ROOT / source
        assert is_in_build_context(source), f".dockerignore keeps {source} from the build"
        if here.is_dir():
            ignore = shutil.ignore_patterns("__pycache__", "*.pyc")
            shutil.copytree(here, folder / target, ignore=ignore)
        else:
            there = folder / target
            there = there / here.name if target.endswith("/") else there
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(here, there)


def is_in_build_context(source: str) -> bool:
    """Say whether .dockerignore, which names the exceptions to `*`, lets a path through."""
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    allowed = {line[1:] for line in lines if line.startswith("!")}
    return "*" in lines and source.split("/")[0] in allowed
