"""What follows from own and others' spans for agreement, as rows and drafts of one commit."""
