"""How a model's server is reached: transport, retries, circuit breaker, concurrency, replicas, prefix caches."""
