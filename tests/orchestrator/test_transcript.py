from __future__ import annotations

import os
from pathlib import Path

import pytest

from sim_orchestrator.minds.base import CallRecord
from sim_orchestrator.transcript import Transcript, TranscriptError, TurnRecord, read

CALL = CallRecord(
    attempt=1,
    model="m",
    messages=[{"role": "user", "content": "what now? ü"}],
    options={"num_ctx": 4096},
    raw='{"actions": []}',
    thinking="work or mine?",
    actions=[{"type": "job"}],
    thought="t",
    notes="n",
    mends=["fence"],
    dropped=["no"],
    prompt_tokens=7,
    output_tokens=9,
    duration_ms=11,
    server_ms=10,
    done_reason="stop",
)
FAILED = CallRecord(attempt=1, model="m", failure="prose", final=False)
TURN = TurnRecord(turn=1, turn_hash="ab", agents={"a": [1, 2, 3, 4, 5, 6]}, fees=3)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "t.jsonl"
    with Transcript(path) as transcript:
        transcript.record_call(1, "a", CALL)
        transcript.record_turn(TURN)
        transcript.record_call(2, "a", FAILED)
        transcript.sync()
    assert list(read(path)) == [(1, "a", CALL), TURN, (2, "a", FAILED)]


def test_it_knows_the_decisions_of_the_turn_in_hand(tmp_path):
    path = tmp_path / "t.jsonl"
    with Transcript(path) as transcript:
        transcript.record_call(1, "a", CALL)
        transcript.record_turn(TURN)
        assert transcript.calls(1, "a") == ()
        transcript.record_call(2, "a", CALL)
        transcript.record_call(2, "b", FAILED)
    with Transcript(path) as again:
        assert again.calls(2, "a") == ()
        assert len(list(again.load())) == 4
        decision = again.decision(2, "a")
        assert decision is not None
        assert decision.actions == [{"type": "job"}]
        assert again.decision(2, "b") is None  # its repair call is still to be made
        assert again.calls(2, "b") == [FAILED]
        assert again.decision(1, "a") is None


@pytest.mark.parametrize("cut", [1, 10, 100])
def test_a_torn_last_line_is_cut_off(tmp_path, cut):
    path = tmp_path / "t.jsonl"
    with Transcript(path) as transcript:
        transcript.record_call(1, "a", CALL)
        transcript.record_call(1, "b", CALL)
    os.truncate(path, path.stat().st_size - cut)
    assert list(read(path)) == [(1, "a", CALL)]
    with Transcript(path) as again:
        assert again.mended
        again.record_call(1, "b", FAILED)
    assert list(read(path)) == [(1, "a", CALL), (1, "b", FAILED)]


def test_a_file_that_is_only_a_torn_line_becomes_empty(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_bytes(b"x" * 200_000)
    with Transcript(path) as transcript:
        assert transcript.mended
        assert list(transcript.load()) == []
    assert path.stat().st_size == 0


@pytest.mark.parametrize("line", [b"{", b"[]", b'{"record": "call"}', b'{"record": "x"}', b"3"])
def test_a_damaged_line_is_named(tmp_path, line):
    path = tmp_path / "t.jsonl"
    with Transcript(path) as transcript:
        transcript.record_call(1, "a", CALL)
    path.write_bytes(path.read_bytes() + line + b"\n" + path.read_bytes())
    with pytest.raises(TranscriptError, match="line 2, is no line of a transcript"):
        list(read(path))


def test_a_full_disk_stops_with_its_reason():
    with (
        Transcript(Path("/dev/full")) as transcript,
        pytest.raises(TranscriptError, match=r"No space left on device.* --resume"),
    ):
        transcript.record_call(1, "a", CALL)


def test_a_file_that_can_not_be_opened_is_named(tmp_path):
    with pytest.raises(TranscriptError, match="can not write"):
        Transcript(tmp_path / "no" / "t.jsonl")
    with pytest.raises(TranscriptError, match="can not read"):
        list(read(tmp_path / "none"))


def test_a_transcript_has_one_writer(tmp_path):
    path = tmp_path / "t.jsonl"
    with Transcript(path), pytest.raises(TranscriptError, match="played by another process"):
        Transcript(path)
    Transcript(path).close()
