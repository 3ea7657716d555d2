-- Rows of earlier versions take the present words. Nothing else of them changes.

ALTER TABLE troubles RENAME TO alerts;
ALTER TABLE alerts RENAME COLUMN over_at TO resolved_at;
ALTER TABLE alerts RENAME COLUMN told TO notified;
ALTER TABLE tickets RENAME TO login_tokens;
ALTER TABLE read_parts RENAME TO verified_parts;

UPDATE events SET kind = CASE kind
        WHEN 'asked' THEN 'requested'
        WHEN 'broke' THEN 'failed'
        WHEN 'healed' THEN 'recovered'
        WHEN 'entered' THEN 'signed-in'
    END
    WHERE kind IN ('asked', 'broke', 'healed', 'entered');

UPDATE accounts SET state = 'pending-deletion' WHERE state = 'leaving';

-- As text, so that every other byte stays as it was.
UPDATE instances SET desired =
    REPLACE(REPLACE(REPLACE(desired,
        '"farewell":"backup"', '"deletion_policy":"final-backup"'),
        '"farewell":"purge"', '"deletion_policy":"purge"'),
        '"on_trial":', '"on_probation":');
UPDATE archives SET desired =
    REPLACE(REPLACE(REPLACE(desired,
        '"farewell":"backup"', '"deletion_policy":"final-backup"'),
        '"farewell":"purge"', '"deletion_policy":"purge"'),
        '"on_trial":', '"on_probation":');

-- A step begins with its name; quotes inside of a text are escaped, so nothing else matches.
UPDATE operations SET steps =
    REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(REPLACE(steps,
        '{"name":"rest",', '{"name":"quiesce",'),
        '{"name":"pause",', '{"name":"freeze",'),
        '{"name":"resume",', '{"name":"unfreeze",'),
        '{"name":"read",', '{"name":"scan",'),
        '{"name":"store",', '{"name":"commit",'),
        '{"name":"limits",', '{"name":"apply-limits",'),
        '{"name":"read-back",', '{"name":"verify",'),
        '{"name":"last-backup",', '{"name":"final-backup",'),
        '{"name":"forget-backups",', '{"name":"purge-backups",'),
        '{"name":"clear",', '{"name":"cleanup",'),
        '{"name":"set-config-aside",', '{"name":"quarantine-config",');
