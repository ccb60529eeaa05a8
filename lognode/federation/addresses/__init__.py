"""Where nodes may be reached: pure values, and the table that keeps them."""
