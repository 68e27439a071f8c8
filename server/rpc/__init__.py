"""The gRPC services and what surrounds them: interceptors, health, metrics, protobuf conversion."""
