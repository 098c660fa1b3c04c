"""From a document to a pipeline that can run: names resolved, types inferred, every mistake told."""
