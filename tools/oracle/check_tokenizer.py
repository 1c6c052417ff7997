#!/usr/bin/env python3
"""Loads the tokenizer of a model folder that Gradus wrote with `tokenizers` and `transformers`, and checks that they see the same.

Usage: check_tokenizer.py FOLDER     exits with 1 and says what differs
"""

import json
import pathlib
import random
import sys

import tokenizers
import transformers


# What a token of a byte-level vocabulary stands for (GPT-2's table).
def byte_of_token(token):
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printable]
    return ord(token) if ord(token) in printable else others[ord(token) - 0x100]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    folder = pathlib.Path(sys.argv[1])
    written = json.loads((folder / "tokenizer.json").read_text())
    config = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))

    assert json.loads(tokenizer.to_str()) == written, "saving it again gives another tokenizer.json"
    vocab = written["model"]["vocab"]
    special = {token["content"]: token["id"] for token in written["added_tokens"]}
    assert sorted({**vocab, **special}.values()) == list(range(len({**vocab, **special}))), "ids have gaps"

    byte_level = written["pre_tokenizer"] is not None
    if byte_level:
        tokens = [token for token in vocab if token not in special]
        byte_of = {token: byte_of_token(token) for token in tokens}
        token_of = {byte: token for token, byte in byte_of.items()}
        assert sorted(token_of) == list(range(256)), "a byte has no token"
        characters = [chr(c) for c in [*range(0x800), *range(0x4E00, 0x4F00), *range(0x1F600, 0x1F640)]]
    else:
        characters = [token for token in vocab if len(token) == 1]
    draw = random.Random(0)
    for _ in range(1000):
        text = "".join(draw.choices(characters, k=draw.randrange(40)))
        ids = tokenizer.encode(text).ids
        if not any(token in text for token in special if len(token) > 1):
            wanted = [vocab[token_of[b]] for b in text.encode()] if byte_level else [vocab[c] for c in text]
            assert ids == wanted, f"{text!r} is encoded as {ids}"
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, f"{text!r} is not decoded to itself"

    loaded = transformers.PreTrainedTokenizerFast.from_pretrained(folder)
    assert loaded.eos_token == config["eos_token"] and loaded.eos_token_id == special[config["eos_token"]]
    assert loaded.pad_token == config["pad_token"] and loaded.pad_token_id == special[config["pad_token"]]
    text = "".join(characters) * 2
    ids = tokenizer.encode(text).ids
    assert loaded.encode(text) == ids, "transformers encodes differently"
    assert loaded.decode(ids) == text, "transformers does not decode to the same text"
    end, padding = f"{loaded.eos_token!r} {loaded.eos_token_id}", f"{loaded.pad_token!r} {loaded.pad_token_id}"
    print(f"{folder}: {len(vocab)} tokens, end {end}, padding {padding}: equal")

    if transformers.AutoTokenizer.from_pretrained(folder).encode(text) != ids:
        # transformers 5 takes Qwen2Tokenizer for model_type qwen2, whatever tokenizer_config.json says.
        print("note: AutoTokenizer takes another class for this model_type; load it with PreTrainedTokenizerFast")


if __name__ == "__main__":
    main()
