-- An idempotency key may stand in several own spans: one used again after a restore, whose first span then came back
-- from other nodes. The span with the lowest row is the one that it stands for.

ALTER TABLE idems RENAME TO idems_before;
CREATE TABLE idems (
  tenant INTEGER NOT NULL,
  idem   BLOB NOT NULL,
  row    INTEGER NOT NULL,
  PRIMARY KEY (tenant, idem, row)
) STRICT, WITHOUT ROWID;
INSERT INTO idems SELECT tenant, idem, row FROM idems_before ORDER BY tenant, idem;
DROP TABLE idems_before;
