"""Samples of logs, each with what is right for it, and what may stand around their lines."""
