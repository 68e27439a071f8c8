"""The server of intone. Start at `app.py` for how it is put together, at `session.py` for what it does."""
