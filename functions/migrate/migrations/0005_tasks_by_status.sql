-- The pending tasks of somebody who has completed almost all of theirs, and the other way round:
-- without it such a page reads every task before the ones that it shows (docs/paging.md has the
-- figures). An update that leaves `completed` alone does not touch this index.
CREATE INDEX tasks_by_status ON tasks (user_id, completed, id);
