"""How objects look, without a browser."""
