"""What the standard says: pure values and rules, no I/O."""
