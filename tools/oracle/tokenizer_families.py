"""Tokenizers with the pipelines of the published model families, trained on text made up here, and texts to try them on. A module of the
scripts beside it."""

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
QWEN2 = LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")
# Mistral Nemo and later ("Tekken").
TEKKEN = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_level(use_regex, add_prefix_space=False):
    return pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, use_regex=use_regex)


def split(regex):
    return pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(regex), "isolated", False), byte_level(False)])


def with_first(token, token_id):
    return processors.TemplateProcessing(
        single=f"{token} $A", pair=f"{token} $A {token}:1 $B:1", special_tokens=[(token, token_id)]
    )


# A byte-level BPE; special and other tokens come behind the vocabulary, as in the published files.
def trained_on_bytes(texts, size, pre_tokenizer, specials, others=(), normalizer=None, first=None, ignore_merges=False):
    tokenizer = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizer
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=size, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(s, normalized=False) for s in specials])
    tokenizer.add_tokens([AddedToken(s, normalized=False) for s in others])
    if first is not None:
        token_id = tokenizer.token_to_id(first)
        tokenizer.post_processor = processors.Sequence(
            [processors.ByteLevel(trim_offsets=True), with_first(first, token_id)]
        )
    else:
        tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    return tokenizer


# A BPE converted from SentencePiece: bytes and control tokens in front, no merge across a space.
def trained_as_sentencepiece(texts, size, specials):
    control = ["<unk>", "<s>", "</s>", *specials]
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=control + [f"<0x{byte:02X}>" for byte in range(256)],
        limit_alphabet=size // 4,
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    # Bytes are no added tokens: they are made anew with the vocabulary alone.
    import json

    document = json.loads(tokenizer.to_str())
    document["added_tokens"] = [t for t in document["added_tokens"] if t["content"] in control]
    tokenizer = Tokenizer.from_str(json.dumps(document))
    space = "\u2581"
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(space, " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    tokenizer.post_processor = with_first("<s>", 1)
    return tokenizer


def mistral(texts, size):
    tokenizer = trained_as_sentencepiece(texts, size, [])
    tokenizer.pre_tokenizer = None
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("\u2581"), normalizers.Replace(" ", "\u2581")])
    return tokenizer


def mistral_v3(texts, size):
    tokenizer = trained_as_sentencepiece(texts, size, ["[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]"])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    return tokenizer


# What no published file has all at once: every kind of normalizer, white space around added tokens, single words, normalised tokens.
def everything(texts, size):
    steps = [normalizers.NFKC(), normalizers.Lowercase(), normalizers.Replace(Regex(r"\d{2,}"), "#"), normalizers.Strip()]
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=False))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation("merged_with_previous"),
            pre_tokenizers.Split(Regex(r"[A-Za-z]{1,4}+"), "contiguous", True),
            pre_tokenizers.Split("q", "removed"),
            pre_tokenizers.Digits(),
            pre_tokenizers.Metaspace(),
        ]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["[UNK]", "[END]"], limit_alphabet=size // 4, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken("[L]", lstrip=True), AddedToken("[R]", rstrip=True), AddedToken("[W]", single_word=True)])
    tokenizer.add_tokens([AddedToken("Word", single_word=True, normalized=True), AddedToken("XY", normalized=True, rstrip=True)])
    tokenizer.decoder = decoders.Metaspace()
    return tokenizer


def whitespace(texts, size):
    tokenizer = Tokenizer(models.BPE(unk_token="[UNK]", fuse_unk=True))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=size, special_tokens=["[UNK]", "[END]"], limit_alphabet=size // 4, show_progress=False
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


CHAT = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
TOOLS = ["<tool_call>", "</tool_call>"]
LLAMA3_SPECIALS = [
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|python_tag|>",
]

# name -> (texts, size of the vocabulary) -> tokenizer; and what tokenizer_config.json says.
FAMILIES = {
    "gpt2": lambda t, n: trained_on_bytes(t, n, byte_level(True), ["<|endoftext|>"]),
    "llama3": lambda t, n: trained_on_bytes(
        t, n, split(LLAMA3), LLAMA3_SPECIALS, first="<|begin_of_text|>", ignore_merges=True
    ),
    "qwen2": lambda t, n: trained_on_bytes(t, n, split(QWEN2), CHAT, TOOLS, normalizers.NFC()),
    "qwen3": lambda t, n: trained_on_bytes(t, n, split(QWEN2), CHAT, [*TOOLS, "<think>", "</think>"], normalizers.NFC()),
    "smollm2": lambda t, n: trained_on_bytes(
        t, n, pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), byte_level(True)]), CHAT
    ),
    "mistral": mistral,
    "mistral_v3": mistral_v3,
    "tekken": lambda t, n: trained_on_bytes(
        t, n, split(TEKKEN), ["<s>", "</s>", "[INST]", "[/INST]"], first="<s>", ignore_merges=True
    ),
    "everything": everything,
    "whitespace": whitespace,
}
CONFIG = {
    "gpt2": {"eos_token": "<|endoftext|>"},
    "llama3": {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>"},
    "qwen2": {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "qwen3": {"bos_token": None, "eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"},
    "smollm2": {"bos_token": "<|im_start|>", "eos_token": "<|im_end|>", "pad_token": "<|im_end|>"},
    "mistral": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None},
    "mistral_v3": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None},
    "tekken": {"bos_token": "<s>", "eos_token": "</s>", "pad_token": None},
    "everything": {"eos_token": "[END]"},
    "whitespace": {"eos_token": "[END]"},
}

# First and last letters of the alphabets that words are made of, and the weight of each.
SCRIPTS = [
    ("az", 30), ("AZ", 5), ("\u00df\u00ff", 4), ("\u0100\u017f", 2), ("\u03b1\u03c9", 3), ("\u0430\u044f", 5), ("\u05d0\u05ea", 2),
    ("\u0621\u064a", 3), ("\u0905\u0939", 3), ("\u0e01\u0e2e", 2), ("\u10d0\u10f0", 1), ("\u1200\u1248", 1), ("\u3041\u3093", 3),
    ("\u30a1\u30f3", 2), ("\u4e00\u4fff", 5), ("\uac00\uacff", 3), ("\u1100\u1112", 1), ("\U00010400\U0001044f", 1),
]  # fmt: skip
MARKS = "\u0300\u0301\u0308\u0327\u0345\u05b0\u064b\u093c\u0e34\u3099\u309a\u1161\u11a8\u20dd\ufe0f\u200d\u200c\u0315\u0334"
SPACES = [" "] * 12 + ["  ", "   ", "\t", "\n", "\r\n", "\n\n", " \n", "\u00a0", "\u2003", "\u3000", "\u2028", "\u0085", "\v", "\u1680"]
SYMBOLS = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + "\u2026 \u2014 \u00ab \u00bb \u20ac \u00b1 \u2192 \u3002 \uff0c \u00bf \u0964 \u2581 \ufffd \u00ad".split(" ")
EMOJI = ["\U0001f600", "\U0001f469\u200d\U0001f467", "\U0001f1e9\U0001f1ea", "\u2764\ufe0f", "\U0001f44d\U0001f3fd", "1\ufe0f\u20e3"]
PIECES = [
    "it's", "don't", "we'LL", "I'M", "they've", "x'\u017f", "'tis", "'", "''s", "std::vector<int>", "for (int i = 0; i < n; ++i) {", "0x1F", "3.14159",
    "1234567890", "\u0661\u0662\u0663", "\u00bd\u00b2\u2167\u2460", "https://example.org/a?b=c", "<div class=\"x\">", "foo_bar", "CamelCase", "\u01c5\u02b0\u00aa",
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|eot_id|>", "<s>", "</s>", "[INST]", "<tool_call>", "<think>", "<|im_st", "<unk>", "[UNK]", "[L]",
    " [R] ", "[W]", "word", "Word", "xy", "XY", "<0x41>", "e\u0301", "\u1e9b\u0323", "\u212b", "\ufb01", "\u0130", "\u03a3", "\uac00\u11a8", "\u0958",
    "<|start_header_id|>user<|end_header_id|>",
]  # fmt: skip


def draw_word(draw):
    ends, _ = draw.choices(SCRIPTS, [w for _, w in SCRIPTS])[0]
    first, last = ord(ends[0]), ord(ends[1])
    if ends in ("az", "AZ", "\u0430\u044f"):  # few of many letters, so that there is something to merge
        letters = [first + (i * i) % (last - first + 1) for i in (0, 2, 3, 4, 5, 7, 8, 11, 13)]
    else:
        letters = range(first, min(last, first + 40) + 1)
    word = "".join(chr(draw.choice(letters)) for _ in range(1 + int(draw.expovariate(0.3))))
    if draw.random() < 0.03:
        word += draw.choice(MARKS)
    return word.capitalize() if draw.random() < 0.15 else word


# A line of words of many scripts, code, numbers, white space, emoji and special tokens.
def draw_line(draw):
    parts = []
    for _ in range(draw.randrange(1, 14)):
        kind = draw.random()
        if kind < 0.68:
            parts.append(draw_word(draw))
        elif kind < 0.75:
            parts.append(str(draw.randrange(10 ** draw.randrange(1, 9))))
        elif kind < 0.85:
            parts.append("".join(draw.choices(SYMBOLS, k=draw.randrange(1, 4))))
        elif kind < 0.88:
            parts.append(draw.choice(EMOJI))
        else:
            parts.append(draw.choice(PIECES))
        if draw.random() < 0.85:
            parts.append(draw.choice(SPACES))
    return "".join(parts)


# Characters from all of Unicode, assigned or not.
def draw_fuzz(draw):
    out = []
    for _ in range(draw.randrange(1, 40)):
        kind = draw.random()
        if kind < 0.25:
            c = draw.randrange(0x80)
        elif kind < 0.5:
            c = draw.randrange(0x3000)
        elif kind < 0.6:
            out.append(draw.choice(SPACES + list(MARKS)))
            continue
        elif kind < 0.8:
            c = draw.choice([0x3000, 0xAC00, 0x10000, 0x11000, 0x16000, 0x1D000, 0x1E000, 0x1F000, 0x20000, 0x30000]) + draw.randrange(0x1000)
        else:
            c = draw.randrange(0x110000)
        out.append(chr(c) if not 0xD800 <= c <= 0xDFFF else "\u0301")
    return "".join(out)


def training_texts(n, seed=1):
    draw = random.Random(seed)
    return [draw_line(draw) for _ in range(n)]
