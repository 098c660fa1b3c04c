"""An operator's jobs, above the engine: probing, rehearsing, grading a fleet."""
