"""The summary of a run that is over, from its directory alone."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from sim_orchestrator.resume import resume_command
from sim_orchestrator.rundir import RunDirectory, RunError, time_played
from sim_orchestrator.settings import of_run, resolve
from sim_orchestrator.summary import Summary, print_summary
from sim_orchestrator.tally import Tally
from sim_orchestrator.transcript import read


def report(run_dir: Path, console: Console) -> None:
    """Print the summary of a run again.

    Raises:
        RunError, TranscriptError, SettingsError: the directory holds no run.
    """
    directory = RunDirectory(run_dir)
    about = directory.load()
    if "config" not in about:
        raise RunError(f"{run_dir} holds a run that never began: its engine had no world for it")
    settings = resolve(of_run(about["settings"]))
    tally = Tally(config=about["config"], roster=settings.agent_ids)
    for entry in read(directory.transcript):
        tally.add(entry)
    last = about["sessions"][-1] if about["sessions"] else {}
    counted = about.get("totals", {}).get("contracts")
    up_to_date = about.get("totals", {}).get("turns") == tally.turns
    print_summary(
        console,
        Summary(
            title=f"run {run_dir}",
            ending=last.get("reason", "this run was killed, or is still being played"),
            tally=tally,
            contracts={(kind, status): count for kind, status, count in counted}
            if counted is not None and up_to_date
            else None,
            db_path=directory.db if directory.db.exists() else None,
            time=time_played(about["sessions"]),
            resume=resume_command(directory.path, settings, tally)
            if last.get("resumable", True)
            else None,
        ),
    )
