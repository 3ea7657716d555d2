-- Counts the changes of what is wanted of an instance and of whose it is: an older row never takes
-- the place of a newer one, whatever the text of its JSON.
ALTER TABLE instances ADD COLUMN revision BIGINT NOT NULL DEFAULT 1;
