"""Generated from the `.proto` files of this folder. Import the stubs from `intone.proto`."""
