"""Published checkpoints: configuration, files, tensors, sizes."""
