"""What happened when, as a picture: the waterfall of calls and connections."""
