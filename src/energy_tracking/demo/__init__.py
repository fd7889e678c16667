"""Recorded calls to try the library on, with nothing leaving the machine."""
