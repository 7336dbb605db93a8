"""Tables and pictures of results; no numbers of its own."""
