"""What the server says of itself and its model, read by Ollama's own client."""

import hashlib

import httpx
import ollama
import pytest

from sim_orchestrator.local_model import DEFAULT_MODEL_NAME, LocalModel, open_model

pytestmark = pytest.mark.embedded

DEFAULT_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"


def test_root_says_that_ollama_is_running(http: httpx.Client):
    assert http.get("/").text == "Ollama is running"
    assert http.head("/").status_code == 200


def test_version_is_one_that_has_structured_outputs_and_is_marked(http: httpx.Client):
    number, _, mark = http.get("/api/version").json()["version"].partition("+")

    assert tuple(map(int, number.split("."))) >= (0, 5, 0)
    assert mark == "sim-economy"


def test_tags_list_the_one_model_with_the_digest_of_its_file(client: ollama.Client):
    (model,) = client.list().models

    assert model.model == DEFAULT_MODEL_NAME
    assert model.digest == DEFAULT_SHA256
    assert model.size == open_model().path.stat().st_size
    assert model.details is not None
    assert model.details.model_dump() == {
        "parent_model": "",
        "format": "gguf",
        "family": "llama",
        "families": ["llama"],
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
    }


def test_ps_tells_the_context_that_is_loaded(client: ollama.Client):
    (model,) = client.ps().models

    assert model.name == DEFAULT_MODEL_NAME
    assert model.context_length == 8192
    assert model.expires_at is not None
    assert model.expires_at.year > 2300


def test_show_gives_the_metadata_of_the_file(client: ollama.Client):
    shown = client.show(DEFAULT_MODEL_NAME)

    assert shown.capabilities == ["completion"]
    assert shown.template is not None
    assert "<|im_start|>" in shown.template
    assert shown.modelinfo is not None
    assert shown.modelinfo["general.architecture"] == "llama"
    assert shown.modelinfo["general.parameter_count"] == 134_515_008
    assert shown.modelinfo["llama.context_length"] == 8192
    assert shown.modelinfo["tokenizer.ggml.tokens"] == []


def test_show_gives_the_vocabulary_when_asked(http: httpx.Client):
    shown = http.post("/api/show", json={"name": DEFAULT_MODEL_NAME, "verbose": True}).json()

    assert len(shown["model_info"]["tokenizer.ggml.tokens"]) == 49_152


def test_model_names_are_compared_as_ollama_does(client: ollama.Client):
    assert client.show(DEFAULT_MODEL_NAME.upper()).details is not None
    with pytest.raises(ollama.ResponseError) as caught:
        client.show("smollm2")  # is smollm2:latest
    assert caught.value.status_code == 404


def test_the_default_model_is_the_expected_file(server: LocalModel):
    content = open_model().path.read_bytes()

    assert hashlib.sha256(content).hexdigest() == DEFAULT_SHA256
    assert server.model == DEFAULT_MODEL_NAME
