"""llama.cpp's own server with one model, in a process of its own: `python llama_server.py PORT MODEL.gguf`.

It imports nothing of this package.
"""

from __future__ import annotations

import signal
import sys

CONTEXT_TOKENS, SLOTS, THREADS = 4_096, 2, 2


def main(port: int, model: str) -> None:
    """Serves the model at 127.0.0.1 until the process is ended."""
    import xllamacpp

    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.n_ctx, settings.n_parallel = CONTEXT_TOKENS, SLOTS
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = THREADS
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.endpoint_metrics = True
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
