#!/usr/bin/env python3
"""Tiny random Llama and Qwen2 models with their logits, computed by `transformers` in float64.

Writes tests/fixtures/transformer/{llama,qwen2}/:
  config.json, model.safetensors   the model as save_pretrained leaves it, float32
  expected.safetensors             input_ids [2, 11] i32
                                   logits    [2, 11, n_vocab] f64
                                   log_probs [2, 10] f64: of input_ids[:, 1:] given what stands before
"""

import argparse
import contextlib
import pathlib

import safetensors.torch
import torch
import transformers

SHAPE = dict(
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=4,
    num_key_value_heads=2,
    head_dim=8,
    intermediate_size=64,
    vocab_size=29,
    max_position_embeddings=64,
    eos_token_id=27,
    pad_token_id=28,
    bos_token_id=None,
    attn_implementation="eager",
)

MODELS = {
    "llama": (
        transformers.LlamaForCausalLM,
        transformers.LlamaConfig(**SHAPE, tie_word_embeddings=True, rms_norm_eps=1e-6),
    ),
    "qwen2": (
        transformers.Qwen2ForCausalLM,
        transformers.Qwen2Config(**SHAPE, tie_word_embeddings=False, rms_norm_eps=1e-5),
    ),
}


def randomise(model, seed):
    """Every weight random and far from its initial value, so that none can be left out unnoticed."""
    generator = torch.Generator().manual_seed(seed)
    for name, weight in model.named_parameters():
        noise = torch.randn(weight.shape, generator=generator)
        if "norm" in name:
            weight.data = 1 + 0.3 * noise
        elif name.endswith("bias"):
            weight.data = 0.5 * noise
        elif "embed" in name:
            weight.data = 0.3 * noise
        else:
            weight.data = noise * weight.shape[1] ** -0.5


@contextlib.contextmanager
def all_in_float64():
    """`transformers` computes norms, softmax and rotary angles in float32 even in a float64 model; here they are float64 too."""
    kept = torch.float32, torch.float, torch.Tensor.float
    torch.float32, torch.float, torch.Tensor.float = torch.float64, torch.float64, torch.Tensor.double
    try:
        yield
    finally:
        torch.float32, torch.float, torch.Tensor.float = kept


def rotary_in_float64(model):
    config = model.config
    theta = config.rope_parameters["rope_theta"]
    exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float64) / config.head_dim
    model.model.rotary_emb.inv_freq = theta**-exponents


@torch.no_grad()
def expected_of(model, input_ids):
    plain = model.double()(input_ids.long()).logits
    rotary_in_float64(model)
    with all_in_float64():
        logits = model(input_ids.long()).logits
    assert logits.dtype == torch.float64
    difference = (logits - plain).abs().max().item()
    assert 0 < difference < 1e-4, f"float64 throughout moved the logits by {difference}"

    next_ids = input_ids[:, 1:].long().unsqueeze(-1)
    log_probs = logits.log_softmax(-1)[:, :-1].gather(-1, next_ids).squeeze(-1)
    return {"input_ids": input_ids, "logits": logits, "log_probs": log_probs.contiguous()}


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/transformer")
    out = parser.parse_args().out

    for seed, (name, (model_class, config)) in enumerate(MODELS.items()):
        model = model_class(config).eval()
        randomise(model, seed)
        model.save_pretrained(out / name)
        (out / name / "generation_config.json").unlink(missing_ok=True)
        generator = torch.Generator().manual_seed(100 + seed)
        input_ids = torch.randint(0, config.vocab_size, (2, 11), generator=generator, dtype=torch.int32)
        expected = expected_of(model, input_ids)
        safetensors.torch.save_file(expected, out / name / "expected.safetensors")
        print(f"{name}: log_probs {expected['log_probs'].mean():.4f} on average")


if __name__ == "__main__":
    main()
