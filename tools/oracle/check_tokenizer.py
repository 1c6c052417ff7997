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

    characters = [token for token in vocab if len(token) == 1]
    draw = random.Random(0)
    for _ in range(1000):
        text = "".join(draw.choices(characters, k=draw.randrange(40)))
        ids = tokenizer.encode(text).ids
        if not any(token in text for token in special if len(token) > 1):
            assert ids == [vocab[character] for character in text], f"{text!r} is encoded as {ids}"
        assert tokenizer.decode(ids, skip_special_tokens=False) == text, f"{text!r} is not decoded to itself"

    auto = transformers.AutoTokenizer.from_pretrained(folder)
    assert auto.eos_token == config["eos_token"] and auto.eos_token_id == special[config["eos_token"]]
    assert auto.pad_token == config["pad_token"] and auto.pad_token_id == special[config["pad_token"]]
    text = "".join(characters) * 2
    assert auto.encode(text) == tokenizer.encode(text).ids, "AutoTokenizer encodes differently"
    assert auto.decode(auto.encode(text)) == text, "AutoTokenizer does not decode to the same text"
    print(f"{folder}: {len(vocab)} tokens, end {auto.eos_token!r} {auto.eos_token_id}, padding {auto.pad_token!r} {auto.pad_token_id}: equal")


if __name__ == "__main__":
    main()
