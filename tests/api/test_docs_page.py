"""The page at ``/docs``: it shows the API from files of this machine alone."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.api.conftest import OpenApp
from tests.api.server import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture
def client(open_app: OpenApp) -> TestClient:
    return open_app()


def test_all_that_the_page_loads_comes_from_the_engine(client: TestClient):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    loaded += re.findall(r"url: '([^']+)'", page.text)
    assert len(loaded) == 4
    for path in loaded:
        assert path.startswith("/")
        assert client.get(path).status_code == 200, path
    kinds = {path.rpartition(".")[2]: client.get(path).headers["content-type"] for path in loaded}
    assert kinds["js"].startswith("text/javascript")
    assert kinds["css"].startswith("text/css")
    assert kinds["png"] == "image/png"
    assert kinds["json"] == "application/json"


@pytest.mark.parametrize("name", ["redoc.standalone.js", "nothing.js", "%2e%2e%2fcore.py"])
def test_nothing_else_is_served_beside_it(client: TestClient, name: str):
    answer = client.get(f"/docs/{name}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "not_found"


def test_every_path_stands_under_a_heading_that_is_explained(client: TestClient):
    document = client.get("/openapi.json").json()
    explained = {tag["name"] for tag in document["tags"] if tag["description"]}
    used = [operation["tags"] for path in document["paths"].values() for operation in path.values()]
    assert all(len(tags) == 1 for tags in used)
    assert {tags[0] for tags in used} == explained


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
def test_a_browser_without_a_network_shows_it(tmp_path: Path):
    assert CHROMIUM is not None
    with serving(tmp_path / "sim.db") as server:
        shown = subprocess.run(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",  # which a container does not allow; the page is our own
                "--disable-gpu",
                f"--user-data-dir={tmp_path / 'browser'}",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                "--virtual-time-budget=20000",
                "--dump-dom",
                f"{server.url}/docs",
            ],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
        ).stdout
        document = server.client().get("/openapi.json").json()
    for path in document["paths"]:
        assert f'data-path="{path}"' in shown
    for tag in document["tags"]:
        assert tag["description"] in shown
