"""Models for tests, benchmarks and demonstrations: simulated, recorded, and served over HTTP."""
