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
