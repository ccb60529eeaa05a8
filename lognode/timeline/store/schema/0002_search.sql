-- Full text of titles, tags, subjects and the texts in data, for the tenants listed in the setting 'search'.
-- Made from bodies and never the truth: whoever changes what goes in empties both tables and lets them fill again.

CREATE TABLE search_tenants (
  tenant   INTEGER PRIMARY KEY REFERENCES tenants,
  position INTEGER NOT NULL  -- spans up to here are in the index
) STRICT;

-- rowid is spans.row. The index holds no text of its own (content) and no ranking (columnsize).
CREATE VIRTUAL TABLE search USING fts5 (
  text, content = '', columnsize = 0, tokenize = 'unicode61 remove_diacritics 2'
);
