"""Calls already made: the formats of files that hold them, and the way into sessions."""
