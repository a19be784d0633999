"""A short run with the embedded model: real inference from the first token to the ledger."""

from __future__ import annotations

import sqlite3

import pytest

from sim_orchestrator.__main__ import main


@pytest.mark.embedded
@pytest.mark.timeout(300)
def test_the_embedded_model_is_not_asked_to_think(capsys):
    flags = ["--agents", "1", "--turns", "1", "--name", "x", "--plain", "--think"]
    assert main(["demo", *flags]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "smollm2:135m can not think before it answers" in shown
    assert "1 made, 0 failed" in shown


@pytest.mark.embedded
@pytest.mark.timeout(300)
def test_the_demo_thinks_plays_and_can_be_replayed(capsys):
    assert main(["demo", "--agents", "1", "--turns", "2", "--name", "x", "--plain"]) == 0
    shown = capsys.readouterr().out
    assert "1 × local (smollm2:135m)" in shown
    assert "all 2 turns are played" in shown
    with sqlite3.connect("runs/x/sim.db") as connection:
        tokens, fees, models = connection.execute(
            "SELECT sum(output_tokens), sum(fee), count(DISTINCT model) FROM inference"
        ).fetchone()
        (applied,) = connection.execute(
            "SELECT count(*) FROM actions WHERE status = 'applied'"
        ).fetchone()
    assert tokens > 20
    assert fees > 0
    assert models == 1
    assert applied >= 2
    assert main(["replay", "runs/x"]) == 0


def test_a_model_file_that_is_none_is_said(capsys, tmp_path):
    (tmp_path / "model.gguf").write_bytes(b"hello")
    flags = ["--minds", "local", "--model-file", "model.gguf", "--own-engine", "--name", "x"]
    assert main(["run", *flags]) == 2
    error = capsys.readouterr().err
    assert "model.gguf can not be read as a GGUF model" in error
    assert error.startswith("sim-orchestrator: ")
