#!/usr/bin/env python3
"""An environment of your own: hover at height 0. It reads and writes a JSON object a line (docs/environments.md)."""
import json
import random
import sys

DRAG, THRUST, FLOOR, CEILING = 0.1, 0.05, -1.0, 1.0


def say(**answer):
    print(json.dumps(answer), flush=True)  # flush: the trainer waits for this line


say(
    observation_space={"low": [FLOOR - 1, None], "high": [CEILING + 1, None]},  # height, speed; None: no bound
    action_space={"n": 3},  # down, nothing, up
    max_episode_steps=200,
)
rng = random.Random()
for line in sys.stdin:
    request = json.loads(line)
    if request["call"] == "reset":
        if "seed" in request:  # same seed, same episodes
            rng.seed(request["seed"])
        height, speed = rng.uniform(-0.5, 0.5), 0.0
        say(observation=[height, speed])
    else:
        speed += THRUST * (request["action"] - 1) - DRAG * speed
        height += speed
        crashed = not FLOOR <= height <= CEILING
        say(observation=[height, speed], reward=1.0 - abs(height), terminated=crashed, truncated=False)
