"""A file of rows, each asked or run through a pipeline: streamed, resumed after any death, written in shards."""
