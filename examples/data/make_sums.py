#!/usr/bin/env python3
"""Writes sums.jsonl beside this file: four digits 1..5 to add up. Two in three responses go step by step, the others
answer at once, so that the warm-up leaves something to find."""
import json
import pathlib
import random

rng = random.Random(1)
prompts = []
while len(prompts) < 320:
    prompt = "+".join(str(rng.randint(1, 5)) for _ in range(4))
    if prompt not in prompts:
        prompts.append(prompt)

with open(pathlib.Path(__file__).with_name("sums.jsonl"), "w", encoding="utf-8") as file:
    for prompt in prompts:
        total, *others = [int(digit) for digit in prompt.split("+")]
        steps = []
        for digit in others:
            steps.append(f"{total}+{digit}={total + digit}")
            total += digit
        response = " ".join(steps) if rng.random() < 2 / 3 else f"={total}"
        file.write(json.dumps({"prompt": prompt, "answer": str(total), "response": response}) + "\n")
