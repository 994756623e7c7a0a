"""The task API by FastAPI and SQLModel: all routes in one function, on psycopg2.

Routes are plain functions, as FastAPI's documentation asks for with a driver that blocks.
docs/performance.md says what psycopg2 on the event loop would save.
"""

from datetime import UTC, datetime
from uuid import UUID

from database import Db
from fastapi import HTTPException
from models import TaskCreate, TaskRead, TaskUpdate, uuid7
from serving import User, app, handler_of
from sqlalchemy import DateTime
from sqlmodel import Field, Session, SQLModel, col, delete, func, not_, select, update

TASKS = "/api/{user_id}/tasks"
TASK = TASKS + "/{task_id}"


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)


class Task(SQLModel, table=True):
    """A row of the table."""

    __tablename__ = "tasks"

    user_id: str = Field(primary_key=True)
    id: UUID = Field(default_factory=uuid7, primary_key=True)
    title: str
    description: str | None = None
    completed: bool = False
    created_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))
    updated_at: datetime = Field(default_factory=now, sa_type=DateTime(timezone=True))


@app.get(TASKS, response_model=list[TaskRead])
def list_tasks(db: Db, user_id: User):
    mine = select(Task).where(Task.user_id == user_id).order_by(col(Task.id)).limit(1000)
    return db.exec(mine).all()


@app.post(TASKS, response_model=TaskRead, status_code=201)
def create_task(db: Db, user_id: User, new: TaskCreate):
    task = Task(user_id=user_id, title=new.title, description=new.description)
    task.updated_at = task.created_at
    db.add(task)
    db.commit()
    return task


@app.get(TASK, response_model=TaskRead)
def get_task(db: Db, user_id: User, task_id: UUID):
    return found(db.get(Task, (user_id, task_id)))


@app.put(TASK, response_model=TaskRead)
def update_task(db: Db, user_id: User, task_id: UUID, change: TaskUpdate):
    return changed(db, user_id, task_id, change.model_dump(exclude_none=True))


@app.patch(TASK + "/complete", response_model=TaskRead)
def toggle_task(db: Db, user_id: User, task_id: UUID):
    return changed(db, user_id, task_id, {"completed": not_(col(Task.completed))})


@app.delete(TASK, response_model=dict[str, str])
def delete_task(db: Db, user_id: User, task_id: UUID):
    gone = delete(Task).where(col(Task.user_id) == user_id, col(Task.id) == task_id)
    if not db.exec(gone.execution_options(synchronize_session=False)).rowcount:
        raise HTTPException(404, "Task not found")
    db.commit()
    return {"message": "Task deleted successfully"}


def changed(db: Session, user_id: str, task_id: UUID, values: dict[str, object]) -> Task:
    """Change a task by one statement, so that two changes at a time both take effect."""
    change = (
        update(Task)
        .where(col(Task.user_id) == user_id, col(Task.id) == task_id)
        .values(**values, updated_at=func.clock_timestamp())
        .returning(Task)
        .execution_options(synchronize_session=False)
    )
    task = found(db.exec(change).scalars().first())
    db.commit()
    return task


def found(task: Task | None) -> Task:
    """Return the task. Raise a 404 when there is none."""
    if task is None:
        raise HTTPException(404, "Task not found")
    return task


handler = handler_of(app)
