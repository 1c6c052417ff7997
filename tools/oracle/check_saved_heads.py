#!/usr/bin/env python3
"""Medusa heads written by Gradus, read as FasterDecoding's and vLLM's loaders do: the logits of the fixtures come out.

  tools/oracle/check_saved_heads.py build/release/gradus

Converts every fixture of make_medusa_fixture.py with `gradus convert-heads` and computes the logits of the result with torch:
by names and shapes that the reference's modules ask for (strict), and by vLLM's config with its defaults, original_lm_head and
token_map. Exit status 1 where a logit differs by more than 1e-5.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import safetensors.torch
import torch
from torch import nn

FIXTURES = pathlib.Path(__file__).resolve().parents[2] / "tests/fixtures/medusa"


class Block(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return x + nn.functional.silu(self.linear(x))


def reference_logits(folder, hidden, trunk_head):
    config = json.loads((folder / "config.json").read_text())
    n_vocab, width = trunk_head.shape
    own = [] if config.get("version") == "2" else [1]
    heads = nn.ModuleList(
        nn.Sequential(
            *(Block(width) for _ in range(config["medusa_num_layers"])), *(nn.Linear(width, n_vocab, bias=False) for _ in own)
        )
        for _ in range(config["medusa_num_heads"])
    )
    heads.load_state_dict(safetensors.torch.load_file(folder / "medusa_lm_head.safetensors"), strict=True)
    return torch.stack([head(hidden) if own else head(hidden) @ trunk_head.T for head in heads])


def vllm_logits(folder, hidden):
    config = json.loads((folder / "config.json").read_text())
    # Any key with these words is taken for the number, so each may be there once.
    heads = [v for k, v in config.items() if "num" in k and "heads" in k]
    layers = [v for k, v in config.items() if "num" in k and "layers" in k]
    assert len(heads) == len(layers) == 1 and config["model_type"] == "medusa"
    w = safetensors.torch.load_file(folder / "model.safetensors")
    used = set()

    def take(name):
        used.add(name)
        return w[name]

    out = []
    for h in range(heads[0]):
        x = hidden
        for l in range(layers[0]):
            bias = take(f"blocks.{h}.layers.{l}.bias") if config.get("medusa_fc_bias") else None
            x = x + nn.functional.silu(nn.functional.linear(x, take(f"blocks.{h}.layers.{l}.weight"), bias))
        head = take("lm_head.weight" if config.get("original_lm_head") else f"lm_heads.{h}.weight")
        assert head.shape == (config["truncated_vocab_size"], config["hidden_size"])
        logits = config.get("logit_scale", 1.0) * x @ head.T
        if config["truncated_vocab_size"] < config["vocab_size"]:
            everything = torch.full((*logits.shape[:-1], config["vocab_size"]), -torch.inf)
            everything[..., take("token_map")] = logits
            logits = everything
        out.append(logits)
    assert used == set(w), f"left over: {set(w) - used}"
    return torch.stack(out)


def write_model(folder):
    """The fixture's model, with a tokenizer of single characters."""
    shutil.copytree(FIXTURES / "full", folder)
    vocab = {c: i for i, c in enumerate("0123456789abcdefghijklmnop$")}
    end = dict(id=vocab["$"], content="$", special=True, single_word=False, lstrip=False, rstrip=False, normalized=False)
    tokenizer = dict(
        version="1.0",
        added_tokens=[end],
        decoder=dict(type="Fuse"),
        model=dict(type="BPE", vocab=vocab, merges=[]),
    )
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps(dict(eos_token="$")))


@torch.no_grad()
def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gradus", type=pathlib.Path)
    arguments = parser.parse_args()
    expected = safetensors.torch.load_file(FIXTURES / "expected.safetensors")
    hidden, trunk_head = expected["hidden"], expected["trunk_head"]
    worst = 0.0
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        model = root / "model"
        write_model(model)
        for name, key in {
            "v1": "own", "v1-pt": "own", "full": "own", "vllm": "own", "vllm-plain": "plain", "twice": "twice", "twice-pt": "twice",
            "v2": "shared", "v2-pt": "shared", "vllm-shared": "shared",
        }.items():  # fmt: skip
            for layout in ("v2" if key == "shared" else "v1"), "vllm":
                if name == "vllm-shared" and layout == "v2":
                    continue  # has no place for a draft vocabulary
                to = root / f"{name}-{layout}"
                command = [arguments.gradus, "convert-heads", model, FIXTURES / name, to, "--layout", layout]
                subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
                got = vllm_logits(to, hidden) if layout == "vllm" else reference_logits(to, hidden, trunk_head)
                want = expected[key]
                there = got > -torch.inf
                difference = (got - want)[there].abs().max().item()
                worst = max(worst, difference)
                print(f"{name:12} as {layout:5} {there.float().mean() * 100:5.1f} % of the logits, largest difference {difference:.1e}")
    sys.exit(worst > 1e-5)


if __name__ == "__main__":
    main()
