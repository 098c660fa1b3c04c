"""A real llama.cpp server with SmolLM2-135M-Instruct, in a process of its own: run by the Python of build/model, with PORT and MODEL.gguf."""

from __future__ import annotations

import signal
import sys


def main(port: int, model: str) -> None:
    import xllamacpp  # type: ignore[import-not-found]

    settings = xllamacpp.CommonParams()
    settings.model.path = model
    settings.n_ctx, settings.n_parallel = 4_096, 2
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = 2
    settings.hostnames, settings.port = ["127.0.0.1"], port
    settings.endpoint_metrics = True
    server = xllamacpp.Server(settings)
    print(server.listening_address, flush=True)
    signal.pause()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
