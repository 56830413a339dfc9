"""A finished check as text."""
