"""The views of ``sim.db``: what is asked most often after a run, in ``views.sql`` beside this file.

They hold no data and no seal covers them. A file that was made before a view was written lacks it,
and is a sound ledger all the same; ``docs/ledger.md`` says how to add them.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from sqlalchemy import Column, Connection, Integer, MetaData, Table, Text

VIEWS: Final = MetaData()
"""The columns of each view, with the types that SQLite does not give to a view's columns."""


def _view(name: str, **columns: type[Integer | Text]) -> None:
    Table(name, VIEWS, *[Column(column, kind) for column, kind in columns.items()])


_view(
    "v_wealth",
    agent_id=Text,
    balance=Integer,
    staked=Integer,
    unbonding=Integer,
    wealth=Integer,
    cores=Integer,
    study_level=Integer,
    blocks_won=Integer,
    suspended=Integer,
)
_view(
    "v_supply",
    turn=Integer,
    issued=Integer,
    destroyed=Integer,
    circulating=Integer,
    issued_in_turn=Integer,
    destroyed_in_turn=Integer,
    fees=Integer,
    debt=Integer,
)
_view("v_contract_outcomes", contract_type=Text, settlement=Text, status=Text, contracts=Integer)
_view(
    "v_payments",
    turn=Integer,
    payer=Text,
    payee=Text,
    amount=Integer,
    reason=Text,
    reference=Text,
    memo=Text,
)
_view(
    "v_contract_payments",
    turn=Integer,
    contract_id=Text,
    contract_type=Text,
    reason=Text,
    payer=Text,
    payee=Text,
    amount=Integer,
)
_view("v_defaults", turn=Integer, contract_id=Text, contract_type=Text, agent_id=Text)
_view("v_income", turn=Integer, agent_id=Text, reason=Text, amount=Integer, reference=Text)
_view("v_wealth_by_turn", turn=Integer, agent_id=Text, wealth=Integer)


def create_views(connection: Connection, *, temporary: bool = False) -> None:
    """Create the views that are not there.

    Temporary ones belong to the connection alone, also where the file can not be written, and are
    read in the place of those that the file has.
    """
    script = files("sim_engine.ledger").joinpath("views.sql").read_text(encoding="utf-8")
    code = "\n".join(line for line in script.splitlines() if not line.startswith("--"))
    for statement in code.split(";"):
        if temporary:
            statement = statement.replace("CREATE VIEW", "CREATE TEMP VIEW", 1)
        if statement.strip():
            connection.exec_driver_sql(statement)
