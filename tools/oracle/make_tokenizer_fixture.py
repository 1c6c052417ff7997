#!/usr/bin/env python3
"""A character tokenizer as the `tokenizers` package writes it, and what it makes of some texts.

Writes tests/fixtures/tokenizer/:
  tokenizer.json    the value that gradus::lm::tokenizer_json must write for the same alphabet
  encodings.json    {"alphabet", "eos", "pad", "cases": [{"text", "ids", "decoded", "decoded_without_special"}]}
"""

import argparse
import json
import pathlib

import tokenizers

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


def character_tokenizer(alphabet, specials):
    vocab = {character: i for i, character in enumerate(alphabet)}
    for special in specials:
        vocab.setdefault(special, len(vocab))
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE(vocab=vocab, merges=[]))
    tokenizer.add_special_tokens([tokenizers.AddedToken(s, normalized=False) for s in specials])
    tokenizer.decoder = tokenizers.decoders.Fuse()
    return tokenizer


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/tokenizer")
    out = parser.parse_args().out
    out.mkdir(parents=True, exist_ok=True)

    tokenizer = character_tokenizer(ALPHABET, [EOS, PAD])
    (out / "tokenizer.json").write_text(tokenizer.to_str(pretty=True) + "\n")
    cases = []
    for text in TEXTS:
        ids = tokenizer.encode(text).ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        assert decoded == text
        without = tokenizer.decode(ids, skip_special_tokens=True)
        cases.append({"text": text, "ids": ids, "decoded": decoded, "decoded_without_special": without})
    document = {"alphabet": ALPHABET, "eos": EOS, "pad": PAD, "cases": cases}
    (out / "encodings.json").write_text(json.dumps(document, indent=1) + "\n")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    main()
