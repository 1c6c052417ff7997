#!/usr/bin/env python3
"""Writes sums.jsonl beside this file: four digits to add up. Every second row has a response to imitate. Half of those go
step by step, the others answer at once, so that the warm-up leaves something to find."""
import json
import pathlib
import random

ROWS = 3000

rng = random.Random(1)
prompts = {}  # in order of first appearance
while len(prompts) < ROWS:
    prompts["+".join(str(rng.randint(1, 9)) for _ in range(4))] = None

with open(pathlib.Path(__file__).with_name("sums.jsonl"), "w", encoding="utf-8") as file:
    for prompt in prompts:
        total, *others = [int(digit) for digit in prompt.split("+")]
        steps = []
        for digit in others:
            steps.append(f"{total}+{digit}={total + digit}")
            total += digit
        row = {"prompt": prompt, "answer": str(total)}
        if rng.random() < 1 / 2:
            row["response"] = " ".join(steps) if rng.random() < 1 / 2 else f"={total}"
        file.write(json.dumps(row) + "\n")
