"""The task API by FastAPI and SQLModel on asyncpg: all routes in one function."""

from typing import Annotated
from urllib.parse import quote
from uuid import UUID

from database import Db
from fastapi import HTTPException, Query, Response
from identity import User
from models import Deleted, Task, TaskCreate, TaskRead, TaskUpdate
from served import app, handler_of
from sqlmodel import col, delete, func, not_, select, update

TASKS = "/api/{user_id}/tasks"
TASK = TASKS + "/{task_id}"
Limit = Annotated[int, Query(ge=1, le=1000)]


@app.get(TASKS, response_model=list[TaskRead])
async def list_tasks(user_id: User, db: Db, limit: Limit = 1000):
    """The user's tasks, oldest first."""
    mine = select(Task).where(Task.user_id == user_id).order_by(col(Task.id)).limit(limit)
    return (await db.exec(mine)).all()


@app.post(TASKS, response_model=TaskRead, status_code=201)
async def create_task(user_id: User, db: Db, new: TaskCreate, response: Response):
    """A new, pending task."""
    task = Task(user_id=user_id, title=new.title, description=new.description)
    task.updated_at = task.created_at
    db.add(task)
    await db.commit()
    response.headers["Location"] = f"/api/{quote(user_id, safe='')}/tasks/{task.id}"
    return task


@app.get(TASK, response_model=TaskRead)
async def get_task(user_id: User, db: Db, task_id: UUID):
    """One task."""
    return found(await db.get(Task, (user_id, task_id)))


@app.put(TASK, response_model=TaskRead)
async def update_task(user_id: User, db: Db, task_id: UUID, change: TaskUpdate):
    """Change what is present and not null."""
    return await changed(user_id, db, task_id, change.model_dump(exclude_none=True))


@app.patch(TASK + "/complete", response_model=TaskRead)
async def toggle_task(user_id: User, db: Db, task_id: UUID):
    """Flip `completed`."""
    return await changed(user_id, db, task_id, {"completed": not_(col(Task.completed))})


@app.delete(TASK, response_model=Deleted)
async def delete_task(user_id: User, db: Db, task_id: UUID):
    """Remove the task."""
    gone = delete(Task).where(col(Task.user_id) == user_id, col(Task.id) == task_id)
    result = await db.exec(gone.execution_options(synchronize_session=False))
    if not result.rowcount:
        raise HTTPException(404, "Task not found")
    await db.commit()
    return Deleted()


async def changed(user_id: str, db: Db, task_id: UUID, values: dict[str, object]) -> Task:
    """One statement, so that of two changes at a time none is lost."""
    change = (
        update(Task)
        .where(col(Task.user_id) == user_id, col(Task.id) == task_id)
        .values(**values, updated_at=func.clock_timestamp())
        .returning(Task)
        .execution_options(synchronize_session=False)
    )
    task = found((await db.exec(change)).scalars().first())
    await db.commit()
    return task


def found(task: Task | None) -> Task:
    """The task. Raises a 404 when there is none."""
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


handler = handler_of(app)
