"""A real llama.cpp server on the CPU, with a tiny random model: prints its address and serves.

    python tests/servers/llama_cpp_server.py MODEL.gguf

Needs ``pip install xllamacpp gguf``: the first is llama.cpp with its server as a wheel.
"""

from __future__ import annotations

import sys
from typing import Any

import gguf
import numpy as np
import xllamacpp

SIZE, HEADS, LAYERS, INNER = 64, 4, 2, 128
SPECIAL = ["<unk>", "<s>", "</s>"]
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]
VOCABULARY = [*SPECIAL, *BYTES, "a", "b"]


def write_model(path: str) -> None:
    """Write a llama of 64 dimensions and random weights, whose words are bytes."""
    types = gguf.TokenType
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(512)
    writer.add_embedding_length(SIZE)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(SIZE // HEADS)
    writer.add_vocab_size(len(VOCABULARY))
    writer.add_tokenizer_model("llama")
    writer.add_token_list(VOCABULARY)
    writer.add_token_scores([0.0] * len(VOCABULARY))
    writer.add_token_types(
        [types.UNKNOWN, types.CONTROL, types.CONTROL, *[types.BYTE] * 256, *[types.NORMAL] * 2]
    )
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    for name, array in _make_tensors().items():
        writer.add_tensor(f"{name}.weight", array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _make_tensors() -> dict[str, Any]:
    rng = np.random.default_rng(0)

    def make(*shape: int) -> Any:
        return rng.normal(0, 0.02, shape).astype(np.float32)

    ones = np.ones(SIZE, np.float32)
    words = len(VOCABULARY)
    tensors = {"token_embd": make(words, SIZE), "output": make(words, SIZE), "output_norm": ones}
    for layer in range(LAYERS):
        of = f"blk.{layer}."
        tensors |= {f"{of}attn_norm": ones, f"{of}ffn_norm": ones}
        tensors |= {f"{of}attn_{part}": make(SIZE, SIZE) for part in ("q", "k", "v", "output")}
        tensors |= {f"{of}ffn_{part}": make(INNER, SIZE) for part in ("gate", "up")}
        tensors[f"{of}ffn_down"] = make(SIZE, INNER)
    return tensors


def main() -> None:
    """Serve until the standard input ends."""
    write_model(sys.argv[1])
    parameters = xllamacpp.CommonParams()
    parameters.model.path = sys.argv[1]
    parameters.n_ctx = 512
    parameters.n_parallel = 2
    parameters.endpoint_metrics = True
    parameters.port = 0
    parameters.warmup = False
    server = xllamacpp.Server(parameters)
    print(server.listening_address, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
