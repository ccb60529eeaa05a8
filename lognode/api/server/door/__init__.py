"""Who may come in, and how who may not is told so."""
