#!/usr/bin/env python3
"""Tiny models of every family go through Gradus, and `transformers` loads what comes out with the same numbers.

    .venv/bin/python tools/oracle/check_saved_model.py build/release/gradus

For every model of make_family_fixtures.py, in float32 and bfloat16, one file and shards:
  load      `gradus generate` reads what save_pretrained wrote: greedy tokens as transformers has them (but for ties in
            bfloat16), and log-probabilities as its float32 softmax has them (2e-4; bfloat16: 0.2)
  save      `gradus export` writes it: every tensor of the same bits, every other field of config.json and every other file as
            they were; transformers' logits are bit for bit those of the original
  RL step   `gradus train jsonl/k15` makes an iteration: weights move, mismatch_max is 0
  save      transformers loads the run's checkpoint, and gives the log-probabilities that `gradus generate RUN` prints
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import transformers
from make_family_fixtures import MODELS, N_DRAWN, fill

ROOT = pathlib.Path(__file__).resolve().parents[2]
PROMPT = "The quick brown fox"
REWARD = """#!/usr/bin/env python3
import json, sys
for line in sys.stdin:
    print(json.dumps({"reward": 0.5 + len(json.loads(line)["response"]) % 2}), flush=True)
"""


def gradus(binary, *arguments):
    done = subprocess.run([binary, *map(str, arguments)], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"gradus {' '.join(map(str, arguments))}: {done.stderr}")
    return done.stdout


def make_folder(name, folder, dtype, shards):
    source = folder.parent / "source"
    source.mkdir(parents=True, exist_ok=True)
    (source / "config.json").write_text(json.dumps({**MODELS[name], "a_field_of_tomorrow": [1, {"x": None}]}))
    config = transformers.AutoConfig.from_pretrained(source)
    model = transformers.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    fill(model)
    model.to(dtype).save_pretrained(folder, max_shard_size="150KB" if shards else "5GB")
    shutil.copy(ROOT / "tests/fixtures/tokenizer/byte_tokenizer.json", folder / "tokenizer.json")
    (folder / "special_tokens_map.json").write_text('{ "eos_token":  "<|endoftext|>" }')


def load(folder):
    model, info = transformers.AutoModelForCausalLM.from_pretrained(
        folder, attn_implementation="eager", output_loading_info=True, dtype="auto"
    )
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


def check_text(binary, what, folder, model, precision, tolerance):
    """What gradus says of its own greedy text, against transformers in float32 on the same weights."""
    line = gradus(binary, "generate", what, "--prompt", PROMPT, "--temperature", 0, "--max-tokens", 48, "--json",
                  "--precision", precision)
    answer = json.loads(line)
    ids = list(PROMPT.encode()) + answer["tokens"]
    with torch.no_grad():
        logits = model.float()(torch.tensor([ids])).logits[0, len(PROMPT) - 1 : -1].double()
    log_probs = logits.log_softmax(-1)
    got = torch.tensor(answer["log_probs"], dtype=torch.float64)
    tokens = torch.tensor(answer["tokens"])
    want = log_probs.gather(-1, tokens[:, None])[:, 0]
    error = (got - want).abs().max().item()
    best = log_probs[:, :N_DRAWN].max(-1).values
    lost = (best - want).max().item()  # 0: each is transformers' own greedy choice
    assert error <= tolerance and lost <= tolerance, f"{what}: log-probabilities off by {error}, choices by {lost}"
    return error


def check_export(binary, folder, out, original):
    gradus(binary, "export", folder, out, "--shard-gb", "0.0001")
    assert (out / "model.safetensors.index.json").exists()
    before, after = json.loads((folder / "config.json").read_text()), json.loads((out / "config.json").read_text())
    assert before == after, (before, after)
    for file in folder.iterdir():
        if "safetensors" not in file.name and file.name != "config.json":
            assert (out / file.name).read_bytes() == file.read_bytes(), file.name
    saved = load(out)
    assert saved.dtype == original.dtype
    for (name, a), (other, b) in zip(original.state_dict().items(), saved.state_dict().items(), strict=True):
        assert name == other and torch.equal(a, b), name
    ids = torch.arange(60)[None]
    with torch.no_grad():
        assert torch.equal(original(ids).logits, saved(ids).logits)


def check_training(binary, folder, work, precision):
    # Random models hardly ever end an answer, and one that is cut has no reward.
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": list(range(0, 256, 16))}))
    data = work / "data.jsonl"
    data.write_text("".join(json.dumps({"prompt": f"{i} plus {i} is "}) + "\n" for i in range(24)))
    reward = work / "reward.py"
    reward.write_text(REWARD)
    reward.chmod(0o755)
    out = gradus(binary, "train", "jsonl/k15", f"model={folder}", f"data={data}", f"reward={reward}", f"precision={precision}",
                 "k15.iterations=1", "k15.prompts=4", "k15.minibatches=1", "k15.samples=8", "k15.max_tokens=70", "eval.problems=4",
                 "eval.quick_problems=4", "--json", "--out", work / "run")
    done = json.loads(out.splitlines()[-1])
    assert done["event"] == "done" and done["mismatch_max"] == 0, done
    checkpoints = sorted((work / "run" / "checkpoints").glob("step-*"))
    saved, original = load(checkpoints[-1]), load(folder)
    moved = sum(not torch.equal(a.float(), b.float()) for a, b in zip(saved.parameters(), original.parameters(), strict=True))
    assert moved > 0, "training moved no weight"
    fields = json.loads((folder / "config.json").read_text())
    for key, value in json.loads((checkpoints[-1] / "config.json").read_text()).items():
        assert key in ("dtype", "torch_dtype") or fields[key] == value, key
    return saved


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("gradus", type=pathlib.Path)
    binary = parser.parse_args().gradus.resolve()
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    torch.set_num_threads(1)
    for name in MODELS:
        for precision, dtype, tolerance in [("fp32", torch.float32, 2e-4), ("bf16", torch.bfloat16, 0.2)]:
            with tempfile.TemporaryDirectory() as folder:
                work = pathlib.Path(folder)
                model = work / "model"
                make_folder(name, model, dtype, shards=precision == "bf16")
                original = load(model)
                check_export(binary, model, work / "exported", original)
                loaded = check_text(binary, model, model, load(model), precision, tolerance)
                saved = check_training(binary, model, work, precision)
                trained = check_text(binary, work / "run", model, saved, precision, tolerance)
                print(f"{name} {precision}: log-probabilities differ by {loaded:.1e}, after a step of RL by {trained:.1e}",
                      flush=True)
    print("all models load, train, save, and load in transformers")


if __name__ == "__main__":
    main()
