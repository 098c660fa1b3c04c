"""What other packages add under entry points: verifiers, encoders, backends, strategies, steps of pipelines."""
