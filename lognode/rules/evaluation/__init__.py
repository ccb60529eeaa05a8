"""From rules and facts to a decision: pure, bounded, explained."""
