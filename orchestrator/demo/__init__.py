"""The demo: real answers from bundled notes, and a labelled simulation of a fleet."""
