"""Tools around the library: scripted conversations, load tests, reports, pictures, a local server, the demo.

They import the library but no `commands`.
"""
