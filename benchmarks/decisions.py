"""How well a model plays: fifty fixed worlds, one decision in each, applied by the real engine.

    python -m benchmarks.decisions                          # the embedded model
    python -m benchmarks.decisions --gguf model.gguf        # any GGUF file, embedded as well
    python -m benchmarks.decisions --ollama gemma3:27b      # a model of a running Ollama

Prints which answers could be read without a mend, with one, or not at all; which actions the engine
applied, and why it rejected others; tokens in and out; and seconds.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ollama

from benchmarks.decision_worlds import WORLDS, World, world
from sim_orchestrator.answer_schema import answer_schema
from sim_orchestrator.context import build_messages
from sim_orchestrator.local_model.process import start_local_model
from sim_orchestrator.parsing import Parsed, ParseFailure, parse_answer


@dataclass(slots=True)
class Score:
    """What is counted over all worlds. Seconds are the model's, prompt and answer together."""

    unmended: int = 0
    mended: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    mends: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    applied: Counter[str] = field(default_factory=Counter)
    rejected: Counter[str] = field(default_factory=Counter)
    prompt_tokens: int = 0
    output_tokens: int = 0
    seconds: float = 0.0

    def add_answer(self, found: Parsed | ParseFailure) -> None:
        """Count how an answer could be read."""
        self.dropped += len(found.dropped)
        if isinstance(found, ParseFailure):
            self.failed[found.error.partition(":")[0]] += 1
            return
        self.mends.update(found.mends)
        if found.mends:
            self.mended += 1
        else:
            self.unmended += 1

    def add_receipts(self, receipts: list[dict[str, Any]]) -> None:
        """Count what became of the actions."""
        for receipt in receipts:
            if receipt["status"] == "applied":
                self.applied[receipt["type"]] += 1
            else:
                self.rejected[receipt["code"]] += 1


def decide(
    client: ollama.Client, model: str, place: World, options: argparse.Namespace, score: Score
) -> dict[str, Any]:
    """Ask the model for one decision, read it, apply it, and count."""
    budget = options.num_ctx - options.num_predict
    messages = build_messages(place.observation, budget_tokens=budget)
    schema = answer_schema(place.observation, text_chars=options.text_chars)
    started = time.monotonic()
    answer = client.chat(
        model=model,
        messages=messages,
        format=None if options.no_schema else schema,
        options={
            "num_ctx": options.num_ctx,
            "num_predict": options.num_predict,
            "temperature": options.temperature,
            "seed": options.seed,
        },
        think=False if options.ollama is None else None,
    )
    score.seconds += time.monotonic() - started
    score.prompt_tokens += answer.prompt_eval_count or 0
    score.output_tokens += answer.eval_count or 0
    text, reason = answer.message.content or "", answer.done_reason or "stop"
    found = parse_answer(text, done_reason=reason, observation=place.observation)
    score.add_answer(found)
    actions = list(found.actions) if isinstance(found, Parsed) else []
    receipts = place.apply(actions, answer.eval_count or 0)
    score.add_receipts(receipts)
    return {"world": place.name, "done_reason": reason, "raw": text, "receipts": receipts}


def report(score: Score, worlds: int) -> str:
    """Write the counts down."""
    applied, rejected = sum(score.applied.values()), sum(score.rejected.values())
    failed = sum(score.failed.values())
    share = 100 * applied / (applied + rejected) if applied + rejected else 0.0
    lines = [
        f"answers            {worlds}",
        f"  without a mend   {score.unmended}  ({100 * score.unmended / worlds:.0f}%)",
        f"  with a mend      {score.mended}  ({100 * score.mended / worlds:.0f}%)",
        f"  not at all       {failed}  ({100 * failed / worlds:.0f}%)",
        *(f"    {count:4} {error}" for error, count in score.failed.most_common()),
        *(f"    {count:4} {mend}" for mend, count in score.mends.most_common()),
        f"actions dropped    {score.dropped}",
        f"actions applied    {applied}  ({share:.0f}% of those submitted)",
        *(f"    {count:4} {kind}" for kind, count in score.applied.most_common()),
        f"actions rejected   {rejected}",
        *(f"    {count:4} {code}" for code, count in score.rejected.most_common()),
        f"tokens in          {score.prompt_tokens}  ({score.prompt_tokens / worlds:.0f} an answer)",
        f"tokens out         {score.output_tokens}  ({score.output_tokens / worlds:.0f} an answer)",
        f"seconds            {score.seconds:.1f}  ({score.seconds / worlds:.2f} an answer)",
    ]
    return "\n".join(lines)


@contextmanager
def served(options: argparse.Namespace) -> Iterator[tuple[ollama.Client, str]]:
    """Yield a client and the name of the model, embedded or of a running Ollama."""
    if options.ollama is not None:
        yield ollama.Client(host=options.host), options.ollama
        return
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "model.log"
        with start_local_model(options.gguf, log_path=log, threads=options.threads) as local:
            yield ollama.Client(host=local.url), local.model


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description="How well a model plays.")
    parser.add_argument("--gguf", type=Path, help="a GGUF file (default: the embedded model)")
    parser.add_argument("--ollama", metavar="NAME", help="a model of a running Ollama")
    parser.add_argument("--host", help="where Ollama runs (default: OLLAMA_HOST)")
    parser.add_argument("--threads", type=int, default=1, help="of the embedded model")
    parser.add_argument("--worlds", type=int, default=WORLDS, help="the first so many worlds")
    parser.add_argument("--num-ctx", type=int, default=2560)
    parser.add_argument("--num-predict", type=int, default=320)
    parser.add_argument("--text-chars", type=int, help="of thought and notes (default: as free)")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-schema", action="store_true", help="ask without a schema")
    parser.add_argument("--raw", type=Path, help="write each answer to this file, a JSON a line")
    options = parser.parse_args()
    score = Score()
    records = []
    with served(options) as (client, model):
        for number in range(options.worlds):
            with world(number) as place:
                records.append(decide(client, model, place, options, score))
            print(f"{number + 1} of {options.worlds}", end="\r", file=sys.stderr, flush=True)
    if options.raw is not None:
        options.raw.write_text("".join(json.dumps(record) + "\n" for record in records))
    print(f"model              {model}")
    print(report(score, options.worlds))


if __name__ == "__main__":
    main()
