"""From a document to a pipeline that can run: names resolved, types inferred, every mistake told."""

from orchestrator._deprecated import old_names

__getattr__ = old_names(__name__)
