"""Logged calls as columns: their energy, and sums over them."""
