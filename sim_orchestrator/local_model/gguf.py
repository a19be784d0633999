"""Reads the metadata of a GGUF file: what `/api/show` tells, and the vocabulary."""

import mmap
import struct
from pathlib import Path
from typing import Any

from sim_orchestrator.local_model.errors import LocalModelError

_MAGIC = b"GGUF"
_VERSIONS = (2, 3)  # version 1 wrote 32-bit lengths; nothing has produced it since 2023
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip


def read_metadata(path: Path) -> dict[str, Any]:
    """Return every key of a GGUF file's metadata with its value; arrays are lists.

    Raises:
        LocalModelError: The file is missing, is no GGUF file, or ends within its header.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(data).metadata()
    except (OSError, ValueError) as error:  # ValueError: mmap of an empty file, bad UTF-8
        raise LocalModelError(f"{path} can not be read as a GGUF model: {error}") from error
    except struct.error as error:
        raise LocalModelError(f"{path} is cut off in its header: fetch the file again") from error


class _Reader:
    """A cursor over the bytes of a GGUF file (little-endian, lengths of 64 bits)."""

    def __init__(self, data: mmap.mmap) -> None:
        self._data = data
        self._at = 0

    def metadata(self) -> dict[str, Any]:
        if self._data[:4] != _MAGIC:
            raise ValueError("it does not start with the bytes GGUF")
        self._at = 4
        version = self._scalar("<I")
        if version not in _VERSIONS:
            raise ValueError(f"its format is version {version}, this program reads 2 and 3")
        self._scalar("<Q")  # the number of tensors, whose list follows the metadata
        pairs = self._scalar("<Q")
        return {self._string(): self._value(self._scalar("<I")) for _ in range(pairs)}

    def _value(self, kind: int) -> Any:
        if kind == _STRING:
            return self._string()
        if kind == _ARRAY:
            element_kind, length = self._scalar("<I"), self._scalar("<Q")
            return [self._value(element_kind) for _ in range(length)]
        if kind not in _SCALARS:
            raise ValueError(f"its metadata has a value of the unknown type {kind}")
        return self._scalar(_SCALARS[kind])

    def _scalar(self, layout: str) -> Any:
        (value,) = struct.unpack_from(layout, self._data, self._at)
        self._at += struct.calcsize(layout)
        return value

    def _string(self) -> str:
        length = self._scalar("<Q")
        if self._at + length > len(self._data):
            raise struct.error("a string ends beyond the file")
        text = self._data[self._at : self._at + length].decode()
        self._at += length
        return text
