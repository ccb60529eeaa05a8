-- Own feeds that nobody may go on in, and why: the first write of their tenant opens a new one, whose feed.open
-- gives the reason. Named by feed id, so that a copied row ends nothing else.

CREATE TABLE endings (
  feed_id BLOB NOT NULL PRIMARY KEY,
  reason  TEXT NOT NULL
) STRICT, WITHOUT ROWID;
