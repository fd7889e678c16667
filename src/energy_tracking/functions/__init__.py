"""Around functions: ``@track_energy`` and what it needs to be unnoticed.

``decorator`` is the door; ``wrappers`` call the function and follow what it returns, ``runs`` say
what a call of it is, ``later_calls`` know what may make calls after it, and ``signatures`` keep
frameworks able to read its annotations.
"""
