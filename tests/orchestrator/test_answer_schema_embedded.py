"""The embedded model under the answer schema: its answer is read without a mend, and applied."""

from __future__ import annotations

import ollama
import pytest

from benchmarks.decision_worlds import world
from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.local_model.process import start_local_model
from sim_orchestrator.parsing import Parsed, parse_answer


@pytest.mark.embedded
@pytest.mark.slow
@pytest.mark.timeout(400)
def test_the_embedded_model_can_play(tmp_path):
    with world(8) as place, start_local_model(log_path=tmp_path / "model.log") as local:
        answer = ollama.Client(host=local.url).chat(
            model=local.model,
            messages=build_messages(place.observation, budget_tokens=2_240),
            format=answer_schema(place.observation, text_chars=60),
            options={"num_ctx": 2_560, "num_predict": 320, "temperature": 0.7, "seed": 1},
        )
        found = parse_answer(
            answer.message.content or "",
            done_reason=answer.done_reason or "",
            observation=place.observation,
        )
        assert isinstance(found, Parsed)
        assert found.actions
        assert (list(found.mends), list(found.dropped)) == ([], [])
        receipts = place.apply(list(found.actions), answer.eval_count or 0)
        assert {receipt["status"] for receipt in receipts} == {"applied"}
