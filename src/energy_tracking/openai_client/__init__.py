"""Tracking of the openai package: its clients, streams, websockets and background responses."""
