#!/usr/bin/env python3
"""The same small Medusa heads in every published layout, with their logits, computed by `torch`.

Writes tests/fixtures/medusa/:
  expected.safetensors  hidden [5, C], trunk_head [V, C] f32: hidden states, and the output matrix of their model
                        own, shared, twice, plain [heads, 5, V] f32: logits of heads with outputs of their own; with the
                        model's output; with two layers that are one module, and own outputs; without biases, own
                        outputs, and logits times 0.5
  v1, v1-pt             FasterDecoding's first layout (own); the config says 2 heads, as the published ones do
  v2, v2-pt             its second (shared); the pickle is of protocol 4
  full                  a whole model, sharded, with the heads inside (own)
  vllm                  vLLM's (own)
  vllm-shared           the same with the model's output for some tokens (shared), names with a prefix
  vllm-plain            the same without biases, with a logit_scale (plain)
  twice, twice-pt       layers that are one module (twice): written once, and written twice
  hostile, legacy       a pickle that runs a command, and a file as before torch 1.6
and fuzz/corpus/torch_file/: small torch files to change at random.
"""

import argparse
import io
import json
import os
import pathlib
import shutil
import zipfile

import safetensors.torch
import torch
import transformers
from torch import nn

HEADS, C, V = 3, 8, 29
TOKEN_MAP = [3, 0, 28, 11, 7, 20, 5]


class Block(nn.Module):
    """Cai et al. 2024, section 2.1.1: x + SiLU(W1 x + b1)."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(C, C)

    def forward(self, x):
        return x + nn.functional.silu(self.linear(x))


def heads_of(layers, own_outputs):
    """Layers are one module, however many, as the reference has it: [Block()] * layers."""
    def head():
        return nn.Sequential(*([Block()] * layers), *([nn.Linear(C, V, bias=False)] if own_outputs else []))

    return nn.ModuleList(head() for _ in range(HEADS))


def randomise(module, generator):
    for weight in module.parameters():
        noise = torch.randn(weight.shape, generator=generator)
        weight.data = noise * (0.5 if weight.dim() == 1 else 1.5 * weight.shape[1] ** -0.5)


def write_config(folder, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(fields, indent=2) + "\n")


def first_config(layers=1, **more):
    return dict(
        base_model_name_or_path="tiny/model", medusa_num_heads=2, medusa_num_layers=layers, transformers_version="4.31.0", **more
    )


def vllm_config(**more):
    return dict(
        architectures=["MedusaModel"],
        model_type="medusa",
        hidden_size=C,
        vocab_size=V,
        num_heads=HEADS,
        num_hidden_layers=1,
        **more,
    )


def vllm_names(state):
    """{h}.{l}.linear.weight -> blocks.{h}.layers.{l}.weight, {h}.1.weight -> lm_heads.{h}.weight"""
    out = {}
    for name, tensor in state.items():
        head, layer, *rest = name.split(".")
        out[f"blocks.{head}.layers.{layer}.{rest[1]}" if rest[0] == "linear" else f"lm_heads.{head}.weight"] = tensor
    return out


class Command:
    def __reduce__(self):
        return os.system, ("touch /tmp/gradus-pickle-was-run",)


@torch.no_grad()
def write_fixtures(out):
    generator = torch.Generator().manual_seed(7)
    own, shared, twice = heads_of(1, True), heads_of(1, False), heads_of(2, True)
    for module in own, twice:
        randomise(module, generator)
    shared.load_state_dict({k: v for k, v in own.state_dict().items() if "linear" in k})
    hidden = torch.randn(5, C, generator=generator)
    trunk = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            num_hidden_layers=1,
            hidden_size=C,
            num_attention_heads=1,
            num_key_value_heads=1,
            intermediate_size=16,
            vocab_size=V,
            max_position_embeddings=64,
            eos_token_id=1,
            pad_token_id=2,
            bos_token_id=None,
            tie_word_embeddings=False,
        )
    )
    randomise(trunk, generator)
    W = trunk.lm_head.weight

    logits = {
        "own": torch.stack([head(hidden) for head in own]),
        "shared": torch.stack([head(hidden) @ W.T for head in shared]),
        "twice": torch.stack([head(hidden) for head in twice]),
        "plain": torch.stack([
            0.5 * ((hidden + nn.functional.silu(hidden @ head[0].linear.weight.T)) @ head[1].weight.T) for head in own
        ]),
    }
    save = safetensors.torch.save_file
    save({"hidden": hidden, "trunk_head": W.clone()} | logits, out / "expected.safetensors")

    write_config(out / "v1", **first_config())
    save(own.state_dict(), out / "v1/medusa_lm_head.safetensors")
    write_config(out / "v1-pt", **first_config())
    torch.save(own.state_dict(), out / "v1-pt/medusa_lm_head.pt")
    write_config(out / "v2", **first_config(version="2"))
    save(shared.state_dict(), out / "v2/medusa_lm_head.safetensors")
    write_config(out / "v2-pt", **first_config(version="2"))
    torch.save(dict(shared.state_dict()), out / "v2-pt/medusa_lm_head.pt", pickle_protocol=4)

    trunk.medusa_head = own
    trunk.config.medusa_num_heads, trunk.config.medusa_num_layers = HEADS, 1
    shutil.rmtree(out / "full", ignore_errors=True)
    trunk.save_pretrained(out / "full", max_shard_size="4KB")
    (out / "full/generation_config.json").unlink(missing_ok=True)

    write_config(out / "vllm", **vllm_config(medusa_fc_bias=True))
    save(vllm_names(own.state_dict()), out / "vllm/model.safetensors")
    write_config(
        out / "vllm-shared",
        **vllm_config(medusa_fc_bias=True, original_lm_head=True, truncated_vocab_size=len(TOKEN_MAP)),
    )
    token_map = torch.tensor(TOKEN_MAP)
    some = vllm_names(shared.state_dict()) | {"lm_head.weight": W[token_map], "token_map": token_map}
    save({f"medusa_heads.{name}": tensor for name, tensor in some.items()}, out / "vllm-shared/model.safetensors")
    write_config(out / "vllm-plain", **vllm_config(logit_scale=0.5))
    plain = {name: tensor for name, tensor in vllm_names(own.state_dict()).items() if not name.endswith("bias")}
    save(plain, out / "vllm-plain/model.safetensors")

    write_config(out / "twice", **first_config(layers=2))
    safetensors.torch.save_model(twice, out / "twice/medusa_lm_head.safetensors")
    write_config(out / "twice-pt", **first_config(layers=2))
    torch.save(twice.state_dict(), out / "twice-pt/medusa_lm_head.pt")

    for name in "hostile", "legacy":
        (out / name).mkdir(exist_ok=True)
    state = shared.state_dict()
    torch.save(state | {"2.0.linear.bias": Command()}, out / "hostile/medusa_lm_head.pt")
    torch.save(dict(list(state.items())[:1]), out / "legacy/medusa_lm_head.pt", _use_new_zipfile_serialization=False)


def write_corpus(out):
    def saved(value, **options):
        file = io.BytesIO()
        torch.save(value, file, **options)
        return file.getvalue()

    def pickle_of(file):
        return zipfile.ZipFile(io.BytesIO(file)).read("archive/data.pkl")

    out.mkdir(parents=True, exist_ok=True)
    module = saved(nn.Sequential(Block(), nn.Linear(2, 3, bias=False)).state_dict())
    some = {"x": torch.arange(6.0).view(2, 3).t(), "h": torch.ones(2, dtype=torch.bfloat16), "i": torch.tensor(1)}
    protocol4 = saved(some, pickle_protocol=4)
    for name, contents in {
        "protocol2.pt": saved(some),
        "protocol4.pt": protocol4,
        "module.pkl": pickle_of(module),
        "protocol4.pkl": pickle_of(protocol4),
        "command.pkl": pickle_of(saved({"a": Command()})),
        "legacy.pt": saved({"a": torch.ones(2)}, _use_new_zipfile_serialization=False),
    }.items():
        (out / name).write_bytes(contents)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/medusa")
    parser.add_argument("--corpus", type=pathlib.Path, default=root / "fuzz/corpus/torch_file")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_fixtures(arguments.out)
    write_corpus(arguments.corpus)
    for folder in arguments.out, arguments.corpus:
        print(f"{folder}: {sum(f.stat().st_size for f in folder.rglob('*') if f.is_file())} bytes")


if __name__ == "__main__":
    main()
