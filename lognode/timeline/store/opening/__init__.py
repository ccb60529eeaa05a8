"""Opening the database file: connections, the schema."""
