"""What servers say of tokens: usage objects, where responses keep them, and text in their place."""
