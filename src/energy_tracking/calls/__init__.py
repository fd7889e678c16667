"""Calls: from start to record, their sums, sessions, budgets, and how they are shown."""
