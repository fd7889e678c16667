"""What coding agents keep of their calls: transcripts, messages, histories."""
