"""An engine of the tests, written as docs say that an engine is added: a folder, and an entry for the registry."""
