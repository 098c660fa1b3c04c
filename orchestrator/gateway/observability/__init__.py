"""What remains of a request for operators: metrics, traces, records."""
