-- The planner's statistics hold values of a column as they were at the last ANALYZE, and so texts of
-- tasks that were deleted since. No query needs them for texts.
ALTER TABLE tasks ALTER COLUMN title SET STATISTICS 0, ALTER COLUMN description SET STATISTICS 0;
ALTER TABLE replaced_texts ALTER COLUMN text SET STATISTICS 0;
ALTER TABLE idempotency_keys ALTER COLUMN outcome SET STATISTICS 0;

-- Changing a column's type removes what was collected before, and nothing else does it without a
-- superuser. The type stays what it is, so no row is written; the trigger has to make way.
DROP TRIGGER keep_replaced_texts ON tasks;
ALTER TABLE tasks ALTER COLUMN title TYPE text, ALTER COLUMN description TYPE text;
ALTER TABLE replaced_texts ALTER COLUMN text TYPE text;
ALTER TABLE idempotency_keys ALTER COLUMN outcome TYPE jsonb;
CREATE TRIGGER keep_replaced_texts AFTER UPDATE OF title, description ON tasks FOR EACH ROW
WHEN (OLD.recorded_at > now() - interval '24 hours')
EXECUTE FUNCTION keep_replaced_texts();
