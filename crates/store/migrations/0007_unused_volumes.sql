-- From here on, an instance whose volume is missing gets an empty one only before its first start.
-- What is stored without the field `unused` counts as started, so only those are marked that surely
-- never were live: none of their operations succeeded, a provision is known, and nothing was backed
-- up. The text is what is written for such volumes; an instance with `volumes` was restored once.
UPDATE instances
SET desired = substr(desired, 1, length(desired) - 1)
    || ',"volumes":{"current":0,"last":0,"filling":null,"replaced":null,"unused":true}}'
WHERE desired LIKE '{"presence":"present",%'
    AND desired NOT LIKE '%"volumes":%'
    AND desired NOT LIKE '%"farewell":%'
    AND EXISTS (SELECT 1 FROM operations o
        WHERE o.instance_id = instances.id AND o.kind = 'provision' AND o.state <> 'succeeded')
    AND NOT EXISTS (SELECT 1 FROM operations o
        WHERE o.instance_id = instances.id AND o.state = 'succeeded')
    AND NOT EXISTS (SELECT 1 FROM snapshots s WHERE s.instance_id = instances.id);
