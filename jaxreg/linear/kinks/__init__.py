"""Losses with kinks: splitting and Newton's method of multipliers, certified by a duality gap."""
