#!/usr/bin/env python3
"""A character and a byte tokenizer as the `tokenizers` package writes them, and what they make of some texts.

Writes tests/fixtures/tokenizer/:
  tokenizer.json         the value that gradus::lm::tokenizer_json must write for the same alphabet
  encodings.json         {"alphabet", "eos", "pad", "cases": [{"text", "ids", "decoded", "decoded_without_special"}]}
  byte_tokenizer.json, byte_encodings.json    the same of bytes: {"eos", "cases": [...]}
  texts.json             texts of many scripts and of fuzzed Unicode
  training.json          {STYLE: {"vocab": tokens in order of id, "merges"}} that BpeTrainer learns from the texts
  FAMILY/                a small vocabulary with the pipeline of each model family: tokenizer.json, tokenizer_config.json, and expected.json, what
                         becomes of each text: {"ids", "decoded"}, "plain" ids where special tokens are text and differ, "special" ids with the
                         tokens around a text (of the first), "skipped" text without special tokens where it differs
"""

import argparse
import json
import pathlib
import random

import tokenizer_families as families
import tokenizers
from check_training import STYLES

ALPHABET = "0123456+-*#>=|$ \n\t\"\\<pad\u00e9e\u0301\u4e2d\U0001f642"
EOS = "$"
PAD = "<pad>"
TEXTS = [
    "",
    "6+5*3-4#>4*3-4|5-4|1=1$",
    "6+5*3-4#=1$",
    "  two  spaces".replace("two", "22").replace("spaces", "a"),
    "\n1\n\n2\t\n",
    '"\\"',
    "\u00e9 e\u0301 \u4e2d\U0001f642",
    "$$1$",
    "<pad>",
    "1<pad><pad",
    "<<pad>>",
    "pad>",
]
BYTE_EOS = "<|endoftext|>"
BYTE_TEXTS = [
    "",
    "int main() { return 0; }\n",
    " leading and  two  spaces \t\r\n\n",
    "\u0000\u0001\u001f\u007f\u0080\u00a0\u00ad\u00ff",
    "\u00e9 e\u0301 \u4e2d\u6587 \U0001f642 \u0120\u010a",
    "one<|endoftext|>two<|endoftext|>",
    "<|endoftext<|endoftext|>|>",
]


def character_tokenizer(alphabet, specials):
    vocab = {character: i for i, character in enumerate(alphabet)}
    for special in specials:
        vocab.setdefault(special, len(vocab))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens([tokenizers.AddedToken(s, normalized=False) for s in specials])
    tokenizer.decoder = tokenizers.decoders.Fuse()
    return tokenizer


# GPT-2's table: a printable character for each byte.
def byte_characters():
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return {**{byte: chr(byte) for byte in printable}, **{byte: chr(0x100 + n) for n, byte in enumerate(others)}}


def byte_tokenizer(eos):
    characters = byte_characters()
    assert set(characters.values()) == set(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocab = {**{characters[byte]: byte for byte in range(256)}, eos: 256}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens([tokenizers.AddedToken(eos, normalized=False)])
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    return tokenizer


def cases_of(tokenizer, texts):
    cases = []
    for text in texts:
        ids = tokenizer.encode(text).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        assert decoded == text, (decoded, text)
        without = tokenizer.decode(ids, skip_special_tokens=True)
        cases.append({"text": text, "ids": ids, "decoded": decoded, "decoded_without_special": without})
    return cases


def write_compact(path, value):
    path.write_text(json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n")


# GPT-2's file is of an old version: no type, merges with a space between, texts for affixes that are not there.
def as_old_version(document):
    model = document["model"]
    del model["type"], model["ignore_merges"]
    model.update(continuing_subword_prefix="", end_of_word_suffix="", merges=[" ".join(m) for m in model["merges"]])


def make_families(out):
    draw = random.Random(7)
    texts = ["", " ", "Hello, world!", "\u00e9 e\u0301\n\n  x"]
    texts += [families.draw_fuzz(draw) if i % 4 == 0 else families.draw_line(draw) for i in range(120)]
    write_compact(out / "texts.json", texts)
    training = families.training_texts(3000)
    for name, make in families.FAMILIES.items():
        folder = out / name
        folder.mkdir(exist_ok=True)
        document = json.loads(make(training, 420).to_str())
        if name == "gpt2":
            as_old_version(document)
        write_compact(folder / "tokenizer.json", document)
        write_compact(folder / "tokenizer_config.json", families.CONFIG[name])
        tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
        ids = [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
        decoded = [tokenizer.decode(i, skip_special_tokens=False) for i in ids]
        skipped = [tokenizer.decode(i, skip_special_tokens=True) for i in ids]
        special = tokenizer.encode(texts[2]).ids
        tokenizer.encode_special_tokens = True
        plain = [tokenizer.encode(t, add_special_tokens=False).ids for t in texts]
        expected = {"ids": ids, "decoded": decoded, "special": special}
        expected["plain"] = {str(i): p for i, p in enumerate(plain) if p != ids[i]}
        expected["skipped"] = {str(i): s for i, s in enumerate(skipped) if s != decoded[i]}
        write_compact(folder / "expected.json", expected)


def make_training(out):
    texts = json.loads((out / "texts.json").read_text())
    file = out / "training.txt"  # of lines, as the trainer reads files
    file.write_text("\n".join(texts), newline="")
    learned = {}
    for style, (normalizer, pre_tokenizer, n_special) in STYLES.items():
        tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
        if normalizer is not None:
            tokenizer.normalizer = normalizer
        tokenizer.pre_tokenizer = pre_tokenizer
        alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
        size = 600 - n_special
        trainer = tokenizers.trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
        tokenizer.train([str(file)], trainer)
        model = json.loads(tokenizer.to_str())["model"]
        learned[style] = {"vocab": list(model["vocab"]), "merges": model["merges"]}
    file.unlink()
    write_compact(out / "training.json", learned)


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/tokenizer")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    characters = character_tokenizer(ALPHABET, [EOS, PAD])
    (out / "tokenizer.json").write_text(characters.to_str(pretty=True) + "\n")
    document = {"alphabet": ALPHABET, "eos": EOS, "pad": PAD, "cases": cases_of(characters, TEXTS)}
    (out / "encodings.json").write_text(json.dumps(document, indent=1) + "\n")

    byte_level = byte_tokenizer(BYTE_EOS)
    (out / "byte_tokenizer.json").write_text(byte_level.to_str(pretty=True) + "\n")
    document = {"eos": BYTE_EOS, "cases": cases_of(byte_level, BYTE_TEXTS)}
    (out / "byte_encodings.json").write_text(json.dumps(document, indent=1) + "\n")
    make_families(out)
    make_training(out)
    print(f"{len(TEXTS)} and {len(BYTE_TEXTS)} cases")


if __name__ == "__main__":
    main()
