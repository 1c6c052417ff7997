#!/usr/bin/env python3
"""A character and a byte tokenizer as the `tokenizers` package writes them, and what they make of some texts.

Writes tests/fixtures/tokenizer/:
  tokenizer.json         the value that gradus::lm::tokenizer_json must write for the same alphabet
  encodings.json         {"alphabet", "eos", "pad", "cases": [{"text", "ids", "decoded", "decoded_without_special"}]}
  byte_tokenizer.json, byte_encodings.json    the same of bytes: {"eos", "cases": [...]}
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
    print(f"{len(TEXTS)} and {len(BYTE_TEXTS)} cases")


if __name__ == "__main__":
    main()
