"""Reading the header of a GGUF file, and serving one that is not the default."""

import struct
from pathlib import Path

import ollama
import pytest

from sim_orchestrator.local_model import LocalModelError, open_model, start_local_model
from sim_orchestrator.local_model.gguf import read_metadata

THINKING_TEMPLATE = (
    "{% for m in messages %}{{'<|im_start|>'+m.role+'\n'}}"
    "{% if m.reasoning_content %}{{'<think>\n'+m.reasoning_content+'\n</think>\n\n'}}{% endif %}"
    "{{m.content+'<|im_end|>\n'}}{% endfor %}"
    "{% if add_generation_prompt %}{{'<|im_start|>assistant\n<think>\n'}}"
    "{% if enable_thinking is false %}{{'\n</think>\n\n'}}{% endif %}{% endif %}"
)


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def header(*pairs: bytes, version: int = 3, magic: bytes = b"GGUF") -> bytes:
    return magic + struct.pack("<IQQ", version, 0, len(pairs)) + b"".join(pairs)


def written(directory: Path, content: bytes) -> Path:
    path = directory / "Some-Model.gguf"
    path.write_bytes(content)
    return path


def test_every_kind_of_value_is_read(tmp_path: Path):
    content = header(
        text("byte") + struct.pack("<IB", 0, 200),
        text("small") + struct.pack("<Ii", 5, -7),
        text("fraction") + struct.pack("<If", 6, 0.5),
        text("yes") + struct.pack("<I?", 7, True),
        text("name") + struct.pack("<I", 8) + text("Ōwner"),
        text("words") + struct.pack("<IIQ", 9, 8, 2) + text("a") + text("bc"),
        text("long") + struct.pack("<IQ", 10, 2**40),
    )

    assert read_metadata(written(tmp_path, content)) == {
        "byte": 200,
        "small": -7,
        "fraction": 0.5,
        "yes": True,
        "name": "Ōwner",
        "words": ["a", "bc"],
        "long": 2**40,
    }


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "can not be read as a GGUF model"),
        (b"PK\x03\x04 and more", "does not start with the bytes GGUF"),
        (header(version=1), "is version 1"),
        (header(text("a") + struct.pack("<I", 77)), "unknown type 77"),
        (header(text("a") + struct.pack("<IQ", 8, 99) + b"short"), "cut off in its header"),
        (header()[:20], "cut off in its header"),
        (header(text("a") + struct.pack("<IQ", 8, 1) + b"\xff"), "can not be read"),
    ],
)
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, content: bytes, complaint: str):
    with pytest.raises(LocalModelError, match=complaint):
        read_metadata(written(tmp_path, content))


def test_a_file_is_named_after_itself(tmp_path: Path):
    path = written(tmp_path, header())

    assert open_model(path).name == "some-model:latest"
    assert open_model(path, "mine:1b").name == "mine:1b"
    assert open_model(path).trained_context_tokens is None


@pytest.mark.embedded
def test_a_model_that_can_think_is_told_whether_to(tmp_path: Path):
    # The real model with a template that knows of thinking, of the same length as its own.
    original = open_model().path.read_bytes()
    at = original.index(b"tokenizer.chat_template") + len(b"tokenizer.chat_template") + 4
    (length,) = struct.unpack_from("<Q", original, at)
    template = THINKING_TEMPLATE.encode()
    template += b"{#" + b" " * (length - len(template) - 4) + b"#}"
    path = written(tmp_path, original[: at + 8] + template + original[at + 8 + length :])
    messages = [{"role": "user", "content": "Say hello."}]
    options = {"num_predict": 12, "temperature": 0}

    with start_local_model(path, log_path=tmp_path / "log") as server:
        client = ollama.Client(host=server.url)
        assert "thinking" in (client.show(server.model).capabilities or [])
        thinks = client.chat(server.model, messages, options=options)
        told_to = client.chat(server.model, messages, think=True, options=options)
        told_not_to = client.chat(server.model, messages, think=False, options=options)

    assert thinks.message.thinking
    assert thinks.message.content == ""
    assert told_to.message.thinking == thinks.message.thinking
    assert told_not_to.message.thinking is None
    assert told_not_to.message.content
