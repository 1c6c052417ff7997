#!/usr/bin/env python3
"""Tiny random models of every family that Gradus reads, with what `transformers` computes of them in float32.

Writes tests/fixtures/families/NAME/:
  config.json            as a folder of that family has it
  expected.safetensors   prompt_I        [n] i32
                         rows_I          [k] i32: rows of the prompt whose logits are kept
                         logits_I        [k, n_vocab] f32
                         continuation_I  [200] i32: greedy, over the first N_DRAWN ids (two prompts have one)
Weights are not stored: both sides make them from the tensor's name and the element's number (weights_of).
"""

import argparse
import json
import pathlib
import shutil
import sys

import numpy as np
import safetensors.torch
import torch
import transformers

N_VOCAB = 272
N_DRAWN = 257  # of the byte tokenizer; the rest of the rows belongs to no token
N_NEW = 200
LEAST_GAP = 1e-4  # between the best and the second best logit of a greedy step, so that rounding decides nothing
PROMPT_LENGTHS = [1, 9, 40, 150]
CONTINUED = [1, 3]

SHAPE = dict(
    num_hidden_layers=3,
    hidden_size=64,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=96,
    vocab_size=N_VOCAB,
    max_position_embeddings=512,
    hidden_act="silu",
    rms_norm_eps=1e-5,
    bos_token_id=None,
    pad_token_id=None,
    tie_word_embeddings=False,
)


def config(model_type, architecture, **fields):
    return {"model_type": model_type, "architectures": [architecture], **SHAPE, **fields}


LLAMA = ("llama", "LlamaForCausalLM")
MISTRAL = ("mistral", "MistralForCausalLM")
QWEN2 = ("qwen2", "Qwen2ForCausalLM")
QWEN3 = ("qwen3", "Qwen3ForCausalLM")
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}
LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}

# Old and new spellings of the rotary embedding take turns; every kind of scaling, bias and window is there.
MODELS = {
    "llama3": config(*LLAMA, rope_theta=5e5, rope_scaling=LLAMA3, head_dim=16, eos_token_id=[256, 255]),
    "llama-biases": config(
        *LLAMA, attention_bias=True, mlp_bias=True, rope_theta=1e4, rope_scaling={"type": "linear", "factor": 4.0}
    ),
    "smollm2": config(
        *LLAMA, tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e5}, dtype="float32"
    ),
    "mistral": config(*MISTRAL, head_dim=24, sliding_window=24, rope_theta=1e4),
    "mistral-yarn": config(
        *MISTRAL,
        sliding_window=None,
        rope_parameters={**YARN, "rope_theta": 1e6, "mscale": 1.0, "mscale_all_dim": 0.8, "beta_fast": 16, "beta_slow": 2},
    ),
    "qwen2": config(
        *QWEN2,
        tie_word_embeddings=True,
        use_sliding_window=True,
        sliding_window=33,
        max_window_layers=1,
        rope_theta=1e6,
        rope_scaling={"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128},
    ),
    "qwen25": config(
        *QWEN2,
        use_sliding_window=False,
        sliding_window=32,
        max_window_layers=0,
        rope_theta=1e6,
        rope_scaling={"rope_type": "dynamic", "factor": 2.0},
    ),
    "qwen3": config(
        *QWEN3,
        head_dim=32,
        tie_word_embeddings=True,
        rope_theta=1e6,
        rope_scaling={**YARN, "attention_factor": 1.25, "truncate": False},
    ),
    "qwen3-layers": config(
        *QWEN3,
        head_dim=16,
        attention_bias=True,
        use_sliding_window=True,
        sliding_window=70,
        layer_types=["sliding_attention", "full_attention", "sliding_attention"],
        rope_parameters={"rope_type": "default", "rope_theta": 1e4},
    ),
}


def hash64(x):
    """The finaliser of SplitMix64 (Steele et al. 2014), for each element."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def weights_of(name, shape):
    """Numbers in [-1, 1) of 24 bits, scaled in float32 by what the tensor is."""
    key = 0xCBF29CE484222325  # FNV-1a of the name
    for byte in name.encode():
        key = ((key ^ byte) * 0x100000001B3) % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        h = hash64(np.uint64(key) + np.arange(1, count + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15))
    u = (h >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
    if name.endswith("norm.weight"):
        w = np.float32(1) + np.float32(0.3) * u
    elif name.endswith("bias"):
        w = np.float32(0.5) * u
    elif "embed_tokens" in name:
        w = np.float32(0.5) * u
    else:
        w = np.float32(np.sqrt(3.0 / shape[1])) * u
    return torch.from_numpy(w.reshape(shape))


def fill(model):
    for name, weight in model.named_parameters():
        weight.data = weights_of(name, tuple(weight.shape))


@torch.no_grad()
def greedy(model, prompt):
    ids = prompt.tolist()
    for _ in range(N_NEW):
        logits = model(torch.tensor([ids]), use_cache=False).logits[0, -1, :N_DRAWN]
        best, second = logits.topk(2).values.tolist()
        if best - second < LEAST_GAP:
            sys.exit(f"a greedy step is decided by {best - second}; change PROMPT_LENGTHS or the seeds")
        ids.append(int(logits.argmax()))
    return torch.tensor(ids[len(prompt) :], dtype=torch.int32)


def expected_of(model, seed):
    generator = torch.Generator().manual_seed(seed)
    out = {}
    for i, length in enumerate(PROMPT_LENGTHS):
        prompt = torch.randint(0, N_DRAWN - 1, (length,), generator=generator, dtype=torch.int32)
        with torch.no_grad():
            logits = model(prompt[None].long(), use_cache=False).logits[0]
        rows = sorted({0, length // 2, length - 1})
        out[f"prompt_{i}"] = prompt
        out[f"rows_{i}"] = torch.tensor(rows, dtype=torch.int32)
        out[f"logits_{i}"] = logits[rows].contiguous()
        if i in CONTINUED:
            out[f"continuation_{i}"] = greedy(model, prompt)
    return out


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/families")
    out = parser.parse_args().out
    for seed, (name, fields) in enumerate(MODELS.items()):
        folder = out / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n")
        read = transformers.AutoConfig.from_pretrained(folder)
        model = transformers.AutoModelForCausalLM.from_config(read, attn_implementation="eager").eval()
        assert model.dtype == torch.float32
        fill(model)
        expected = expected_of(model, seed)
        safetensors.torch.save_file(expected, folder / "expected.safetensors")
        distinct = len(set(expected[f"continuation_{CONTINUED[-1]}"].tolist()))
        print(f"{name}: {distinct} different ids in a continuation of {N_NEW}")


if __name__ == "__main__":
    main()
