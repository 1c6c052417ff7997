#!/usr/bin/env python3
"""The properties of characters as the `tokenizers` package sees them: gradus/lm/tokenizer/unicode_tables.cc.

Its regex engine (Oniguruma), Rust's standard library and its crates each carry a version of Unicode of their own, so the package itself is
asked about every code point: general categories and \\w by its regexes, digits and punctuation by its pre-tokenizers, small letters and
composition by its normalizers. Takes some minutes.
"""

import argparse
import pathlib
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Cs Co Cn".split()
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
EVERYTHING = "".join(map(chr, CODE_POINTS))
WORD, NUMERIC, PUNCTUATION, COMPOSES, LATER = (1 << 5 + i for i in range(5))

HEAD = """// Made by tools/oracle/make_unicode_tables.py from tokenizers {version}; not to be changed by hand.
#include "gradus/lm/tokenizer/unicode_tables.h"

namespace gradus::lm::detail {{

"""


# Which code points the pattern matches: those that a Split on it removes.
def matched(pattern):
    found = set(CODE_POINTS)
    for _, (begin, end) in pre_tokenizers.Split(Regex(pattern), "removed").pre_tokenize_str(EVERYTHING):
        found.difference_update(CODE_POINTS[begin:end])
    return found


# Code points that the pre-tokenizer makes a piece of its own.
def isolated(pre_tokenizer):
    return {c for c in CODE_POINTS if len(pre_tokenizer.pre_tokenize_str(f"a{chr(c)}a")) == 3}


# Code points that the crate for normal forms knows nothing of, since they are younger: it joins and moves nothing there. Marks are probed beside
# marks of the classes 1 and 232, one of which would change places with them.
def unknown_to_normal_forms():
    nfc, nfkc = normalizers.NFC().normalize_str, normalizers.NFKC().normalize_str
    found = set()
    for c in CODE_POINTS:
        text = chr(c)
        if unicodedata.category(text) == "Cn" or nfkc(text) != unicodedata.normalize("NFKC", text):
            found.add(c)
        if unicodedata.combining(text):
            found.update([c] if all(nfc(t) == t for t in (f"a{text}\u0334", f"a\u0315{text}")) else [])
        parts = unicodedata.decomposition(text)
        pair = unicodedata.normalize("NFD", text)
        if parts and not parts.startswith("<") and nfc(pair) != unicodedata.normalize("NFC", pair):
            found.add(int(parts.split()[-1], 16))
    return found


# Code points that normalisation form C may change or join with what is before them.
def composing():
    found = set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))  # vowels and finals of Hangul
    for c in CODE_POINTS:
        text = chr(c)
        if unicodedata.combining(text) or unicodedata.normalize("NFC", text) != text:
            found.add(c)
        parts = unicodedata.decomposition(text)
        if parts and not parts.startswith("<") and len(parts.split()) == 2:
            found.add(int(parts.split()[1], 16))
    return found


def rows(values, per_line):
    return "".join("    " + " ".join(f"{v}," for v in values[i : i + per_line]) + "\n" for i in range(0, len(values), per_line))


def property_rows():
    properties = [CATEGORIES.index("Cn")] * 0x110000
    properties[0xD800:0xE000] = [CATEGORIES.index("Cs")] * 0x800
    for index, category in enumerate(CATEGORIES):
        for c in matched(rf"\p{{{category}}}"):
            properties[c] = index
    later = unknown_to_normal_forms()
    for bit, members in [
        (WORD, matched(r"\w")),
        (NUMERIC, isolated(pre_tokenizers.Digits(individual_digits=True))),
        (PUNCTUATION, isolated(pre_tokenizers.Punctuation())),
        (COMPOSES, composing() - later),
        (LATER, later),
    ]:
        for c in members:
            properties[c] |= bit
    starts = [c for c in range(0x110000) if c == 0 or properties[c] != properties[c - 1]]
    return [f"0x{c << 10 | properties[c]:X}" for c in starts]


def lower_rows():
    lower = normalizers.Lowercase()
    ranges = []  # first, last, step, difference
    for c in CODE_POINTS:
        text = lower.normalize_str(chr(c))
        if text == chr(c) or len(text) > 1:
            assert len(text) == 1 or c == 0x130
            continue
        difference = ord(text) - c
        if ranges and ranges[-1][3] == difference and c - ranges[-1][1] in (1, 2):
            first, last, step, _ = ranges[-1]
            if first == last or step == c - last:
                ranges[-1] = (first, c, c - last, difference)
                continue
        ranges.append((c, c, 1, difference))
    return [f"{{0x{first:X}, 0x{last:X}, {step}, {difference}}}" for first, last, step, difference in ranges]


def main():
    import tokenizers

    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "gradus/lm/tokenizer/unicode_tables.cc")
    out = parser.parse_args().out
    text = HEAD.format(version=tokenizers.__version__)
    for kind, name, values, per_line in [
        ("uint32_t", "kProperties", property_rows(), 10),
        ("LowerRange", "kLower", lower_rows(), 4),
    ]:
        text += f"// clang-format off\nconst {kind} {name}[] = {{\n{rows(values, per_line)}}};\n// clang-format on\n"
        text += f"const std::size_t {name}Size = std::size({name});\n\n"
    text = text.replace('tables.h"\n', 'tables.h"\n\n#include <iterator>\n', 1)
    out.write_text(text + "}  // namespace gradus::lm::detail\n")


if __name__ == "__main__":
    main()
