#!/usr/bin/env python3
"""Low-rank adapters against `peft` and `transformers`, in both directions, on tiny random models.

  tools/oracle/check_lora.py [PROGRAM]         default: build/release/gradus

For a Llama and a Qwen2 base in float32:
  read     an adapter that peft made, used by `gradus generate`: the log-probabilities of what it drew are peft's
  written  the same adapter written again by `gradus export`, read by peft: the same logits
  merged   `gradus export --merge`, loaded by transformers: the logits of peft's merged model
  trained  an adapter that `gradus train jsonl/sft lora.rank=4` made: peft's log-probabilities of what it then draws
One JSON object a line with the largest difference by the range of the logits; exit code 1 when one is above 1e-4.
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import peft
import torch
import transformers

ROOT = pathlib.Path(__file__).resolve().parents[2]
BAR = 1e-4
SHAPE = dict(
    num_hidden_layers=2, hidden_size=64, num_attention_heads=4, num_key_value_heads=2, intermediate_size=96,
    vocab_size=257, max_position_embeddings=128, eos_token_id=256, pad_token_id=None, bos_token_id=None,
)
BASES = {
    "llama": (transformers.LlamaForCausalLM, transformers.LlamaConfig(**SHAPE, tie_word_embeddings=True)),
    "qwen2": (transformers.Qwen2ForCausalLM, transformers.Qwen2Config(**SHAPE, tie_word_embeddings=False)),
}


def randomise(model, names, scale):
    generator = torch.Generator().manual_seed(1)
    for name, weight in model.named_parameters():
        if names not in name:
            continue
        noise = torch.randn(weight.shape, generator=generator)
        width = weight.shape[-1] ** -0.5
        weight.data = 1 + 0.3 * noise if "norm" in name else scale * noise * (width if weight.dim() == 2 else 0.3)


def gradus(*words):
    result = subprocess.run([program, *map(str, words)], capture_output=True, text=True)
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, words))}: {result.stderr}")
    return [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]


def logits_of(model, ids):
    with torch.no_grad():
        return model(torch.tensor([ids])).logits[0]


def load_adapted(base, adapter):
    model = transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    return peft.PeftModel.from_pretrained(model, adapter).eval()


def report(what, family, difference, span):
    share = difference / span
    print(json.dumps({"what": what, "base": family, "max_difference": share, "ok": share <= BAR}), flush=True)
    return share <= BAR


def check_generated(what, family, folder, model):
    """Greedy text of `gradus generate`, judged token by token by the model of peft."""
    prompt = "what is 2+3?"
    answer = gradus("generate", folder, "--prompt", prompt, "--temperature", 0, "--max-tokens", 40, "--precision", "fp32",
                    "--json")[0]
    ids = list(prompt.encode()) + answer["tokens"]
    logits = logits_of(model, ids)
    log_probs = torch.log_softmax(logits, -1)
    theirs = [log_probs[len(prompt) - 1 + t, token].item() for t, token in enumerate(answer["tokens"])]
    difference = max(abs(a - b) for a, b in zip(answer["log_probs"], theirs))
    return report(what, family, difference, (logits.max() - logits.min()).item())


def check(family, folder):
    make, config = BASES[family]
    base, adapter = folder / "base", folder / "adapter"
    torch.manual_seed(0)
    model = make(config).eval()
    randomise(model, "", 1.0)
    model.save_pretrained(base)
    shutil.copy(ROOT / "tests/fixtures/tokenizer/byte_tokenizer.json", base / "tokenizer.json")

    targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    model = peft.get_peft_model(model, peft.LoraConfig(r=4, lora_alpha=6, target_modules=targets, task_type="CAUSAL_LM"))
    randomise(model, "lora_", 0.5)
    model.eval().save_pretrained(adapter)
    settings = json.loads((adapter / "adapter_config.json").read_text())
    settings["base_model_name_or_path"] = str(base)
    (adapter / "adapter_config.json").write_text(json.dumps(settings))

    ids = list(range(1, 100))
    want = logits_of(model, ids)
    span = (want.max() - want.min()).item()
    plain = logits_of(transformers.AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32), ids)
    assert (want - plain).abs().max().item() > 0.05 * span, "the adapter changes nothing"

    ok = check_generated("read", family, adapter, model)
    gradus("export", adapter, folder / "written")
    ok &= report("written", family, (logits_of(load_adapted(base, folder / "written"), ids) - want).abs().max().item(), span)
    gradus("export", adapter, folder / "merged", "--merge")
    merged = transformers.AutoModelForCausalLM.from_pretrained(folder / "merged", dtype=torch.float32)
    whole = logits_of(model.merge_and_unload(), ids)
    ok &= report("merged", family, (logits_of(merged, ids) - whole).abs().max().item(), span)

    rows = [{"prompt": f"what is {a}+{b}?", "answer": str(a + b), "response": f"={a + b}"} for a in range(9) for b in range(9)]
    (folder / "sums.jsonl").write_text("\n".join(map(json.dumps, rows)))
    gradus("train", "jsonl/sft", f"model={base}", f"data={folder / 'sums.jsonl'}", "lora.rank=4", "sft.tokens=20000",
           "sft.learning_rate=0.003", "sft.stretch=1", "k15.max_tokens=8", "eval.problems=4", "eval.quick_problems=4", "--quiet",
           "--out", folder / "run")
    checkpoint = sorted((folder / "run/checkpoints").glob("step-*"))[-1]
    trained = load_adapted(base, checkpoint)
    assert (logits_of(trained, ids) - plain).abs().max().item() > 0.01 * span, "training has changed nothing"
    ok &= check_generated("trained", family, folder / "run", trained)
    return ok


program = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "build/release/gradus")
results = []
for name in BASES:
    with tempfile.TemporaryDirectory() as temporary:
        results.append(check(name, pathlib.Path(temporary)))
sys.exit(0 if all(results) else 1)
