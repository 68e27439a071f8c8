"""What the command line shows and measures: scripted conversations, load, reports, pictures."""
