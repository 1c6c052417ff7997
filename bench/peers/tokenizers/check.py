#!/usr/bin/env python3
"""Gradus against the `tokenizers` package: the ids of many lines of mixed script and of fuzzed Unicode, what they are decoded to, and how fast.

Usage: check.py --tool build/release/tokenize [--families a,b] [--lines 1000000] [--vocab 8000] [--seed 1]
   or: check.py --tool ... --folder MODEL     with the tokenizer of a model folder

Prints a JSON line per family: lines, how many differ (and the first that does), and the speeds on one thread in MB of UTF-8 a second. Exits
with 1 when any line differs. Speed is of a part of the lines without fuzz; the package encodes in one batch call without offsets.
"""

import argparse
import json
import os
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / "tools/oracle"))

import tokenizer_families as families  # noqa: E402
from tokenizers import Tokenizer  # noqa: E402


def run_tool(tool, folder, texts, rounds, *words):
    data = b"".join(struct.pack("<I", len(t)) + t for t in (text.encode() for text in texts))
    with tempfile.TemporaryDirectory() as temporary:
        source, out = pathlib.Path(temporary, "texts"), pathlib.Path(temporary, "out")
        source.write_bytes(data)
        times = json.loads(subprocess.run([tool, folder, source, out, str(rounds), *words], check=True, capture_output=True).stdout)
        result = out.read_bytes()
    at = 0
    rows = []
    for _ in texts:
        (n,) = struct.unpack_from("<I", result, at)
        ids = list(struct.unpack_from(f"<{n}i", result, at + 4))
        at += 4 + 4 * n
        (n,) = struct.unpack_from("<I", result, at)
        rows.append((ids, result[at + 4 : at + 4 + n].decode()))
        at += 4 + n
    return rows, times


# Differences of one way to encode. `plain`: special tokens are text.
def compare(tokenizer, tool, folder, texts, plain, special, skip):
    tokenizer.encode_special_tokens = plain
    words = [w for w, on in (("plain", plain), ("special", special), ("skip", skip)) if on]
    rows, _ = run_tool(tool, folder, texts, 1, *words)
    different = 0
    first = None
    step = 10000
    for begin in range(0, len(texts), step):
        chunk = texts[begin : begin + step]
        encodings = [e.ids for e in tokenizer.encode_batch_fast(chunk, add_special_tokens=special)]
        decoded = tokenizer.decode_batch(encodings, skip_special_tokens=skip)
        for text, ids, back, (our_ids, ours) in zip(chunk, encodings, decoded, rows[begin : begin + step]):
            if ids != our_ids or back != ours:
                different += 1
                if first is None:
                    first = {"text": text, "theirs": ids, "ours": our_ids, "their_text": back, "our_text": ours}
    tokenizer.encode_special_tokens = False
    return different, first


def measure(tokenizer, tool, folder, texts):
    mb = sum(len(t.encode()) for t in texts) / 1e6
    theirs = 1e9
    decode = 1e9
    for _ in range(3):
        begin = time.perf_counter()
        encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        theirs = min(theirs, time.perf_counter() - begin)
        ids = [e.ids for e in encodings]
        begin = time.perf_counter()
        tokenizer.decode_batch(ids, skip_special_tokens=False)
        decode = min(decode, time.perf_counter() - begin)
    _, ours = run_tool(tool, folder, texts, 3)
    return {
        "ours_mb_s": round(mb / ours["encode_s"], 1),
        "theirs_mb_s": round(mb / theirs, 1),
        "ratio": round(theirs / ours["encode_s"], 2),
        "decode_ratio": round(decode / ours["decode_s"], 2),
        "load_s": ours["load_s"],
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=pathlib.Path, required=True)
    parser.add_argument("--families", default=",".join(families.FAMILIES))
    parser.add_argument("--folder", type=pathlib.Path)
    parser.add_argument("--lines", type=int, default=1_000_000)
    parser.add_argument("--vocab", type=int, default=8000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-speed", action="store_true")
    options = parser.parse_args()
    failed = False
    names = [str(options.folder)] if options.folder else options.families.split(",")
    training = None if options.folder else families.training_texts(60_000, seed=options.seed)
    draw = random.Random(options.seed + 1)
    n_lines = options.lines // len(names)
    for name in names:
        with tempfile.TemporaryDirectory() as temporary:
            folder = options.folder or pathlib.Path(temporary)
            if options.folder is None:
                tokenizer = families.FAMILIES[name](training, options.vocab)
                tokenizer.save(str(folder / "tokenizer.json"))
                (folder / "tokenizer_config.json").write_text(json.dumps(families.CONFIG[name]))
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            tokenizer.no_truncation()
            tokenizer.no_padding()
            texts = [families.draw_fuzz(draw) if i % 4 == 0 else families.draw_line(draw) for i in range(n_lines)]
            row = {"family": name, "n_vocab": tokenizer.get_vocab_size(), "lines": len(texts), "different": 0}
            # Most lines as a model is fed; a tenth each with special tokens as text, with those around, without those in the result.
            tenth = len(texts) // 10
            for part, ways in [
                (texts, (False, False, False)),
                (texts[:tenth], (True, False, False)),
                (texts[tenth : 2 * tenth], (False, True, False)),
                (texts[2 * tenth : 3 * tenth], (False, True, True)),
            ]:
                different, first = compare(tokenizer, options.tool, folder, part, *ways)
                row["different"] += different
                if first is not None and "first" not in row:
                    row["first"] = first
            if not options.no_speed:
                row.update(measure(tokenizer, options.tool, folder, [t for i, t in enumerate(texts) if i % 4][:30_000]))
            print(json.dumps(row), flush=True)
            failed = failed or row["different"] > 0
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
