"""The engines, by name. Each is imported only when it is loaded: one must not need what another one needs."""
