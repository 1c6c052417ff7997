#!/usr/bin/env python3
"""A reward program: reads a JSON object a line, writes a JSON object a line (docs/data.md)."""
import json
import sys

for line in sys.stdin:
    sample = json.loads(line)
    said = sample["response"].rpartition("=")[2].strip()
    correct = said == sample["answer"]
    reply = {"reward": float(correct), "correct": correct, "characters": len(sample["response"])}
    print(json.dumps(reply), flush=True)  # flush: the trainer waits for this line
