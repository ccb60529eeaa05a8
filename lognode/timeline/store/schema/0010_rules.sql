-- Rules.

-- Spans by which rule sets are published and disabled, also those whose author might not.
CREATE TABLE publications (
  tenant INTEGER NOT NULL,
  name   TEXT NOT NULL,
  feed   INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  row    INTEGER NOT NULL,
  hash   BLOB,  -- SHA-256 of the text; NULL: from here on the set has no effect
  PRIMARY KEY (tenant, name, feed, seq)
) STRICT, WITHOUT ROWID;

-- How far reactions have looked at what arrived in a tenant. It follows from no span, so it has a seal.
CREATE TABLE rule_cursors (
  tenant   INTEGER PRIMARY KEY REFERENCES tenants,
  position INTEGER NOT NULL,
  seal     BLOB NOT NULL
) STRICT;
