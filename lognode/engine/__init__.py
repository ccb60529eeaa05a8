"""What turns drafts into committed spans: pure plans, and the one writer that carries them out."""
