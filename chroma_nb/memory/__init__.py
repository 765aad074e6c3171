"""How much memory there is, how much is taken, and what is said about it."""
