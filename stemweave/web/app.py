"""The application: routes, guards and the page, around one studio."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import metadata
from pathlib import Path

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.staticfiles import StaticFiles

from stemweave.web import (
    daw_routes,
    event_routes,
    job_routes,
    music_routes,
    project_routes,
    version_routes,
)
from stemweave.web.answers import Health, ModelAnswer
from stemweave.web.errors import PROBLEMS, answer_errors, name_methods
from stemweave.web.guards import (
    COOKIE,
    HEADERS,
    SESSION_PATH,
    UPLOAD_PATH,
    Attempts,
    Guard,
    address_of,
    check_token,
    session_of,
)
from stemweave.web.runner import Runner
from stemweave.web.settings import Settings
from stemweave.web.studio import InStudio, Studio

VERSION = metadata.version("stemweave")
PAGE = Path(__file__).parent / "static"


class Credentials(BaseModel):
    """What a person enters once."""

    token: str


def create_app(settings: Settings, runner: Runner, page: Path = PAGE) -> FastAPI:
    """A studio that serves its API and the folder ``page``.

    Raises:
        InputError: if the data folder is in use or cannot be written.
    """
    studio = Studio(settings, runner)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with studio.running():
            yield

    app = FastAPI(
        title="Stemweave",
        version=VERSION,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.studio, app.state.attempts = studio, Attempts()
    app.add_middleware(Guard, settings=settings, attempts=app.state.attempts)
    answer_errors(app, HEADERS)
    whole = APIRouter()
    whole.add_api_route("/health", health, methods=["GET"], tags=["server"])
    whole.add_api_route("/api/model", model, methods=["GET"], tags=["server"])
    whole.add_api_route(
        SESSION_PATH, begin_session, methods=["POST"], status_code=204, tags=["server"]
    )
    whole.add_api_route(
        UPLOAD_PATH,
        project_routes.create_project,
        methods=["POST"],
        status_code=201,
        tags=["projects"],
        openapi_extra=project_routes.upload_body(runner.separated_stems),
    )
    modules = (project_routes, job_routes, version_routes, music_routes, daw_routes, event_routes)
    routers = [whole, *(module.router for module in modules)]
    for router in routers:
        app.include_router(router)
        app.include_router(heads_of(router))
    name_methods(app, [*app.routes, *(route for router in routers for route in router.routes)])
    if page.is_dir():  # not in an installation without the page
        app.mount("/", StaticFiles(directory=page, html=True))
    return app


def heads_of(router: APIRouter) -> APIRouter:
    """HEAD for everything that can be had by GET; not in openapi.json, where it says nothing."""
    heads = APIRouter()
    for route in router.routes:
        if isinstance(route, APIRoute) and "GET" in (route.methods or ()):
            heads.add_api_route(
                route.path,
                route.endpoint,
                methods=["HEAD"],
                response_class=route.response_class,
                include_in_schema=False,
            )
    return heads


def health() -> Health:
    """Whether the server answers."""
    return Health(status="ok", version=VERSION)


def model(studio: InStudio) -> ModelAnswer:
    """The model in memory, and what this server allows."""
    return studio.runner.card(studio.settings)


def begin_session(given: Credentials, request: Request, studio: InStudio) -> Response:
    """Exchange the token for a cookie, as players and event streams cannot send headers."""
    token = studio.settings.token
    if token is not None:
        check_token(given.token, token, address_of(request.scope), request.app.state.attempts)
    response = Response(status_code=204)
    if token is not None:
        response.set_cookie(
            COOKIE,
            session_of(token),
            max_age=30 * 86_400,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
    return response
