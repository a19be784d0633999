"""README.md shows what really happens: its commands are run and their output is compared.

How to write a fenced block in README.md:

```bash        a script. It runs as a whole and has to exit with 0. It may print anything, unless a
               block ```text is the next thing below it: that shows the output.
```console     lines that start with `$ ` are commands, each run by itself; what follows is the
               output. A command with nothing below it has to exit with 0 and may print anything.
other fences   (`json`, `toml`, …) are not run.

Within a line of output `…` stands for any text, and a line that is only `…` for any lines. What
takes several lines to say is a script: it can be copied as it stands.

A block that cannot run on a machine without Docker, Ollama or a registry stands directly below a
line `<!-- not run: REASON -->`; each of its commands has to start with a word of NOT_RUN.

All blocks run in one empty folder, in order, with this environment's commands on the PATH. A
command with `sim-engine serve` starts in the background, is waited for until it is healthy, and
goes on until the next one or the end. Where a command or its output names the port 3000 of this
machine (`127.0.0.1:3000`, `localhost:3000`, `PORT=3000`, `--port 3000`), a free one replaces it.
"""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
NOT_RUN = {"docker", "git", "cd", "make", "ollama", "pip", "export"}
PORT_3000 = re.compile(r"(127\.0\.0\.1:|localhost:|\bPORT=|--port[ =])3000\b")
COMMAND_SECONDS_MAX = 120

# Where no sqlite3 program is installed this one prints rows as it does.
SQLITE3 = """#!{python}
import sqlite3, sys
path, *query = [argument for argument in sys.argv[1:] if argument != "-header"]
if not query:
    sqlite3.connect(path).executescript(sys.stdin.read())
    sys.exit()
rows = sqlite3.connect(f"file:{{path}}?mode=ro", uri=True).execute(*query)
names = [tuple(column[0] for column in rows.description)] if "-header" in sys.argv else []
for row in names + rows.fetchall():
    print("|".join("" if value is None else str(value) for value in row))
"""


@dataclass(frozen=True)
class Block:
    """One fenced block: the line of its fence, its language, its text, why it is not run.

    ``shown`` is the output that stands below a script.
    """

    line: int
    language: str
    text: str
    not_run: str | None
    shown: str | None = None

    def steps(self) -> Iterator[tuple[str, str | None]]:
        """Yield each command with the output that is shown for it, None where none is."""
        if self.language == "bash":
            yield self.text, self.shown
            return
        command, output = "", list[str]()
        for line in self.text.splitlines():
            if line.startswith("$ "):
                if command:
                    yield command, "\n".join(output) or None
                command, output = line[2:], []
            else:
                assert command, f"line {self.line}: a console block starts with `$ `"
                assert output or line[:2] != "> ", f"line {self.line}: write a script instead"
                output.append(line)
        yield command, "\n".join(output) or None


def blocks(text: str) -> Iterator[Block]:
    """Find the fenced blocks of a Markdown text that hold commands."""
    pattern = (
        r"^(?:<!-- not run: (.+) -->\n)?^```(bash|console)\n(.*?)^```$"
        r"(?:\n\n```text\n(.*?)^```$)?"
    )
    for match in re.finditer(pattern, text, re.MULTILINE | re.DOTALL):
        line = text.count("\n", 0, match.start(2)) + 1
        yield Block(line, match[2], match[3], match[1], match[4])


def shows(shown: str, printed: str) -> bool:
    """Compare output with what is shown for it, where `…` stands for anything."""
    parts = []
    for line in shown.splitlines():
        any_text = ".*".join(map(re.escape, line.rstrip().split("…")))
        parts.append(r"(?:.*\n)*?" if line.strip() == "…" else any_text + r"[ ]*\n")
    return re.fullmatch("".join(parts), printed.rstrip() + "\n") is not None


class Session:
    """One folder and environment in which all commands of the README run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.engine: subprocess.Popen[bytes] | None = None
        programs = folder / ".programs"
        programs.mkdir()
        if not shutil.which("sqlite3"):
            (programs / "sqlite3").write_text(SQLITE3.format(python=sys.executable), "utf-8")
            (programs / "sqlite3").chmod(0o755)
        here = Path(sys.executable).parent
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith("SIM_")
        } | {
            "PATH": f"{here}{os.pathsep}{programs}{os.pathsep}{os.environ['PATH']}",
            "PORT": str(self.port),
            "SIM_ENGINE_URL": f"http://127.0.0.1:{self.port}",
            "NO_COLOR": "1",
            "COLUMNS": "120",
        }

    def run(self, command: str) -> str:
        """Run a command in bash and give what it printed; the engine goes to the background."""
        command = PORT_3000.sub(rf"\g<1>{self.port}", command)
        if re.search(r"\bsim-engine serve\b", command):
            self.serve(command)
            return ""
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=self.folder, env=self.environment, timeout=COMMAND_SECONDS_MAX,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        assert done.returncode == 0, f"`{command}` ended with {done.returncode}:\n{done.stdout}"
        return re.sub(rf":{self.port}\b", ":3000", done.stdout)

    def serve(self, command: str) -> None:
        """Start an engine in place of the last one and wait until it answers."""
        self.stop()
        command = command.strip().removesuffix("&")
        self.engine = subprocess.Popen(
            ["bash", "-c", command], cwd=self.folder, env=self.environment, start_new_session=True
        )
        deadline = time.monotonic() + 60
        while not self.is_healthy():
            assert self.engine.poll() is None, f"`{command}` ended before it answered"
            assert time.monotonic() < deadline, f"`{command}` did not answer in 60 s"
            time.sleep(0.1)

    def is_healthy(self) -> bool:
        """Ask the engine for its health."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/health", timeout=5):
                return True
        except urllib.error.URLError:
            return False

    def stop(self) -> None:
        """End the engine that this session started, if one runs."""
        if self.engine and self.engine.poll() is None:
            os.killpg(self.engine.pid, signal.SIGTERM)
            self.engine.wait(30)


def free_port() -> int:
    """Ask the system for a port that nobody uses."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def do_what_is_shown(name: str, run: Iterable[Block], folder: Path) -> None:
    """Run the commands of a document one after the other, and compare what they print."""
    session = Session(folder)
    try:
        for block in run:
            for command, shown in block.steps():
                printed = session.run(command)
                assert shown is None or shows(shown, printed), (
                    f"{name}:{block.line}: `{command}` is shown to print\n{shown}\n"
                    f"but printed\n{printed}"
                )
    finally:
        session.stop()


@pytest.mark.timeout(600)
def test_commands_do_what_the_readme_shows(tmp_path: Path):
    run = [block for block in blocks(README.read_text("utf-8")) if block.not_run is None]
    assert run, "README.md has no command that can be run"
    do_what_is_shown("README.md", run, tmp_path)


def test_blocks_that_do_not_run_could_not():
    for block in blocks(README.read_text("utf-8")):
        for command, _ in block.steps() if block.not_run else ():
            for line in re.sub(r"\\\n", " ", command).splitlines():
                words = [word for word in line.partition("#")[0].split() if "=" not in word]
                assert not words or words[0] in NOT_RUN, f"README.md:{block.line}: run `{line}`"


DOCUMENTS = [README, *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links_to_files_lead_somewhere(path: Path):
    text = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"[a-z]+:", target):
            file, _, anchor = target.partition("#")
            there = (path.parent / file) if file else path
            assert there.exists(), f"{path.name} links to {target}"
            assert not anchor or anchor in anchors(there), f"{path.name} links to {target}"


def anchors(path: Path) -> set[str]:
    """Give the anchors that a Markdown file's headings make."""
    headings = re.findall(r"^#+ (.+)$", path.read_text("utf-8"), re.MULTILINE)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings)
    return {heading.strip().replace(" ", "-") for heading in plain}


EXAMPLE = """
```console
$ echo one; echo two
one
t…
$ true
```

```bash
echo three
```

```text
t…
```

<!-- not run: needs Docker -->
```bash
docker compose up
```
"""


def test_blocks_are_read_as_described():
    first, second, third = blocks(EXAMPLE)
    assert list(first.steps()) == [("echo one; echo two", "one\nt…"), ("true", None)]
    assert (first.line, first.not_run, third.not_run) == (2, None, "needs Docker")
    assert list(second.steps()) == [("echo three\n", "t…\n")]
    assert list(third.steps()) == [("docker compose up\n", None)]


def test_a_command_that_can_not_be_copied_is_refused():
    (block,) = blocks("```console\n$ echo \\\n> one\none\n```\n")
    with pytest.raises(AssertionError, match="write a script instead"):
        list(block.steps())


def test_the_stand_in_for_sqlite3_prints_as_it_does(tmp_path: Path):
    script = tmp_path / "stand_in.py"
    script.write_text(SQLITE3.format(python=sys.executable), "utf-8")
    said: list[str] = []
    for program in (["sqlite3"], [sys.executable, str(script)]):
        if shutil.which(program[0]):
            path = str(tmp_path / f"{len(said)}.db")
            table = "CREATE TABLE t (a, b); INSERT INTO t VALUES (1, NULL), (2, 'x');"
            subprocess.run([*program, path], input=table, text=True, check=True)
            query = [*program, "-header", path, "SELECT a, b AS c FROM t"]
            said.append(subprocess.run(query, text=True, capture_output=True, check=True).stdout)
    assert said == ["a|c\n1|\n2|x\n"] * len(said)
    assert said


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("one\ntwo", "one\ntwo\n", True),
        ("one\ntwo", "one\nthree\n", False),
        ("one", "one\ntwo\n", False),
        ('{"turn": 1, "hash": "…"}', '{"turn": 1, "hash": "a0b1"}\n', True),
        ('{"turn": 1, "hash": "…"}', '{"turn": 2, "hash": "a0b1"}\n', False),
        ("first\n…\nlast", "first\n2\n3\nlast\n", True),
        ("first\n…", "first\n", True),
        ("first\n…\nlast", "first\nlast, or not\n", False),
        ("a.c", "abc\n", False),
    ],
)
def test_output_is_compared_as_described(shown: str, printed: str, same: bool):
    assert shows(shown, printed) is same


def test_session_stops_at_a_command_that_fails(tmp_path: Path):
    session = Session(tmp_path)
    assert session.run("echo kept > file && cat file") == "kept\n"
    with pytest.raises(AssertionError, match="ended with 1"):
        session.run("false | cat")
