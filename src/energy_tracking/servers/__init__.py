"""What a server that a user runs says of itself: its batch, its tokens and its joules.

Everything here is off until a setting names an address, talks only to that address, and runs
beside the calls and never in them.

pages    fetches a page that the user has named, and reads samples off it
engines  the table of engines: which of their metrics says what
sampler  samples pages while calls are under way, and says how busy their servers were
"""
