"""What ``energy-tracking report`` makes of logged calls: tables, data, a page, pictures."""
