"""The page that describes the API and lets one try it, without a network beyond this machine."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse

SWAGGER_UI: Final = ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png")
"""The files of the page, which FastAPI by itself would have the browser take from a CDN."""

_FOLDER: Final = Path(str(files("fastapi_offline"))) / "static"

router = APIRouter(include_in_schema=False)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Show Swagger UI on the OpenAPI document."""
    script, style, icon = (f"/docs/{name}" for name in SWAGGER_UI)
    return get_swagger_ui_html(
        openapi_url="/openapi.json",
        title=request.app.title,
        swagger_js_url=script,
        swagger_css_url=style,
        swagger_favicon_url=icon,
        # The schemas stand with the paths that take and give them, and need not follow once more.
        swagger_ui_parameters={"defaultModelsExpandDepth": -1, "displayRequestDuration": True},
    )


@router.get("/docs/{name}")
async def docs_file(name: str) -> FileResponse:
    """Serve a file of the page."""
    if name not in SWAGGER_UI:
        raise HTTPException(404)
    return FileResponse(_FOLDER / name)
