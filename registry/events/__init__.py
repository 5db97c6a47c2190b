"""Events for others: what the outbox holds, delivered to files and HTTP endpoints, each at its own pace."""
