#!/usr/bin/env python3
"""What `gradus tokenizer train` learns against the BpeTrainer of `tokenizers`: the same vocabulary and merges.

Usage: check_training.py --gradus build/release/gradus [--vocab 3000] [FILE...]     without files: text made up here
Prints a line per style, with the seconds that both took; exits with 1 when they differ.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile
import time

import tokenizer_families as families
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

STYLES = {
    "gpt2": (None, families.byte_level(True), 1),
    "llama3": (None, families.split(families.LLAMA3), 5),
    "qwen2": (normalizers.NFC(), families.split(families.QWEN2), 3),
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gradus", type=pathlib.Path, required=True)
    parser.add_argument("--vocab", type=int, default=3000)
    parser.add_argument("files", nargs="*")
    options = parser.parse_args()
    failed = False
    with tempfile.TemporaryDirectory() as temporary:
        files = options.files
        if not files:
            files = [str(pathlib.Path(temporary, "text"))]
            pathlib.Path(files[0]).write_text("\n".join(families.training_texts(20_000)), newline="")
        for style, (normalizer, pre_tokenizer, n_special) in STYLES.items():
            out = pathlib.Path(temporary, style)
            begin = time.perf_counter()
            command = [options.gradus, "tokenizer", "train", *files, "--out", out, "--vocab-size", str(options.vocab), "--style", style]
            subprocess.run(command, check=True, capture_output=True)
            ours_s = time.perf_counter() - begin
            ours = json.loads((out / "tokenizer.json").read_text())
            tokenizer = Tokenizer(models.BPE())
            if normalizer is not None:
                tokenizer.normalizer = normalizer
            tokenizer.pre_tokenizer = pre_tokenizer
            alphabet = pre_tokenizers.ByteLevel.alphabet()
            trainer = trainers.BpeTrainer(vocab_size=options.vocab - n_special, initial_alphabet=alphabet, show_progress=False)
            begin = time.perf_counter()
            tokenizer.train(files, trainer)
            theirs_s = time.perf_counter() - begin
            theirs = json.loads(tokenizer.to_str())
            same = ours["model"]["vocab"] == theirs["model"]["vocab"] and ours["model"]["merges"] == theirs["model"]["merges"]
            loaded = Tokenizer.from_file(str(out / "tokenizer.json"))  # the package reads what we write
            same = same and loaded.get_vocab_size() == len(ours["model"]["vocab"]) + n_special
            failed = failed or not same
            n_merges = len(ours["model"]["merges"])
            print(f"{style}: {n_merges} merges, {'equal' if same else 'DIFFERENT'}, {ours_s:.1f} s and {theirs_s:.1f} s", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
