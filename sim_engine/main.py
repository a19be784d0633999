"""The application for an ASGI server of your own: ``uvicorn sim_engine.main:app``.

It reads the environment as ``sim-engine serve`` does, but for HOST and PORT, which are the
server's.
"""

from __future__ import annotations

from sim_engine.api.app import create_app
from sim_engine.api.logs import configure_logging
from sim_engine.settings import read_settings

settings = read_settings()
configure_logging(settings.log_level, server_speaks=True)
app = create_app(settings, own_process=True)
