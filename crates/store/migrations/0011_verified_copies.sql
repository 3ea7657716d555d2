-- When each copy of a snapshot was last found whole; NULL for one that was not verified yet.
ALTER TABLE snapshots ADD COLUMN verified_local BIGINT;
ALTER TABLE snapshots ADD COLUMN verified_remote BIGINT;

-- The verification of a part covers the structure of all snapshots that were there.
UPDATE snapshots SET verified_remote = (
    SELECT MAX(at) FROM verified_parts
    WHERE verified_parts.instance_id = snapshots.instance_id AND at >= taken_at
) WHERE remote = 1;
