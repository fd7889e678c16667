"""Files of calls already made: found, unpacked, and cut into documents."""
