"""``/api/projects``: upload, list, rename, undo, delete."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Request
from pydantic import Field

from stemweave.stems import MIXTURE
from stemweave.web.answers import ProjectAnswer, project_answer
from stemweave.web.bodies import Closed, DeskState
from stemweave.web.errors import DISK_FULL, Refused
from stemweave.web.ingest import ingest
from stemweave.web.studio import InStudio
from stemweave.web.tables import Project, Version
from stemweave.web.uploads import MAX_NAME_LENGTH, Upload, harmless_text, receive_upload

router = APIRouter(prefix="/api/projects", tags=["projects"])


class ProjectChange(Closed):
    """A new name, or the version to go on with (undo and redo)."""

    name: Annotated[str | None, Field(min_length=1, max_length=MAX_NAME_LENGTH)] = None
    head_version_id: Annotated[str | None, Field(max_length=100)] = None


async def create_project(request: Request, studio: InStudio) -> ProjectAnswer:
    """Upload a mixture, stems, or both; without a file, an empty project to generate in."""
    settings, library = studio.settings, studio.library
    declared = request.headers.get("content-length", "0")
    if library.free_bytes() < int(declared) + settings.min_free_mb * 1e6:
        raise Refused(507, DISK_FULL)
    with library.working_folder() as uploaded, library.working_folder() as folder:
        upload = await receive_upload(request, uploaded, (*studio.runner.separated_stems, MIXTURE))
        project = Project(name=_project_name(upload))

        def store() -> None:
            version: Version | None = None
            if upload.files:
                notes = ingest(upload, folder, settings, library)
                params = {"notes": notes} if notes else {}
                version = library.describe(folder, project.id, "upload", params)
                library.publish(folder, version.id)
            studio.store.add_project(project, version)

        await to_thread.run_sync(store, limiter=studio.conversions)
        return await to_thread.run_sync(studio.project_answer, project)


def upload_body(stems: Sequence[str]) -> dict[str, Any]:
    """OpenAPI's words for the body of ``create_project``, which it reads for itself."""
    file = {"type": "string", "format": "binary"}
    name = {"type": "string", "maxLength": MAX_NAME_LENGTH}
    schema = {
        "type": "object",
        "properties": {**dict.fromkeys((*stems, MIXTURE), file), "name": name},
        "additionalProperties": False,
    }
    return {"requestBody": {"content": {"multipart/form-data": {"schema": schema}}}}


@router.get("")
def list_projects(studio: InStudio) -> list[ProjectAnswer]:
    """All projects, newest first."""
    versions, keep_days = studio.store.versions(), studio.settings.keep_days
    return [project_answer(row, versions, keep_days) for row in studio.store.projects()]


@router.get("/{project_id}")
def get_project(project_id: str, studio: InStudio) -> ProjectAnswer:
    """One project with all of its versions, oldest first."""
    return studio.project_answer(studio.project(project_id))


@router.patch("/{project_id}")
def change_project(project_id: str, change: ProjectChange, studio: InStudio) -> ProjectAnswer:
    """Rename a project, or move its head to another of its versions."""
    studio.project(project_id)
    head = change.head_version_id
    if head is not None and studio.version(head).project_id != project_id:
        raise Refused(404, "the project has no such version")
    name = None if change.name is None else harmless_text(change.name)
    if name == "":
        raise Refused(422, "name: it holds no character that can be shown")
    project = studio.store.change_project(project_id, name, head)
    studio.feed.changed(project_id)
    return studio.project_answer(project or studio.project(project_id))


@router.get("/{project_id}/desk")
def get_desk(project_id: str, studio: InStudio) -> DeskState:
    """Faders, loop, selection and zoom, as they were left."""
    studio.project(project_id)
    return DeskState.model_validate(studio.store.desk(project_id))


@router.put("/{project_id}/desk", status_code=204)
def keep_desk(project_id: str, desk: DeskState, studio: InStudio) -> None:
    """Keep faders, loop, selection and zoom for the next visit."""
    if not studio.store.keep_desk(project_id, desk.model_dump(mode="json")):
        raise Refused(404, "there is no such project")


@router.delete("/{project_id}", status_code=204)
def delete_project(project_id: str, studio: InStudio) -> None:
    """Delete a project, its audio and its jobs; one that runs is cancelled."""
    if not studio.delete_project(project_id):
        raise Refused(404, "there is no such project")


def _project_name(upload: Upload) -> str:
    """What the client said, or the first file's name without its ending, or a default."""
    from_file = next(iter(upload.labels.values()), "").rpartition(".")
    return upload.name or from_file[0] or from_file[2] or "untitled"
