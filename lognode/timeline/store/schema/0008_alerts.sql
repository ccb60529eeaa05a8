-- What the owner was told of this node's own feeds; one row for each code of errors, and a seal in it.

CREATE TABLE alerts (
  tenant INTEGER NOT NULL,
  code   TEXT NOT NULL,
  said   BLOB NOT NULL,
  PRIMARY KEY (tenant, code)
) STRICT, WITHOUT ROWID;
