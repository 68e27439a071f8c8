"""The autoregressive language model: text to semantic codes."""
