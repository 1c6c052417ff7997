#!/usr/bin/env python3
"""Episodes of Gymnasium's environments, step by step, and returns of fixed policies in its LunarLander.

Writes tests/fixtures/env/NAME.json, a list of episodes:
  start         the options that begin it there (for lunarlander: heights [12] and force [2], what reset draws)
  continuous    lunarlander only: which of the two
  dispersions   lunarlander only: what each step draws, reset's first, [1 + n_steps][2]
  actions       [n_steps]: a number each, or a list
  observations  [1 + n_steps]: float32 as Gymnasium gives them, reset's first
  rewards       [n_steps]
  terminated    whether the last step ended it
  states        [step, state]: every tenth state as the environment keeps it, float64 (float32: mountaincar-continuous)
and tests/fixtures/env/lunarlander_returns.json: mean, deviation and mean length of --episodes of each policy.
"""

import argparse
import json
import math
import pathlib

import gymnasium
import numpy as np
from gymnasium.envs.box2d import lunar_lander


def shortest(x):
    """The fewest digits that give the same float32 again."""
    return float(str(np.float32(x)))


def record(env, start, policy, n_steps, dtype=np.float64):
    """`policy` maps step and observation to an action; the state, of type dtype, is set before the first step."""
    env.reset(seed=0)
    env.state = np.array(list(start.values()), dtype=dtype)
    start = dict(zip(start, env.state.tolist()))
    actions, rewards, observations, states = [], [], [observe(env)], []
    for step in range(n_steps):
        action = policy(step, observations[-1])
        observation, reward, terminated, _, _ = env.step(action)
        actions.append(action.item() if isinstance(action, np.ndarray) else action)
        rewards.append(float(reward))
        observations.append(observation)
        if step % 10 == 9 or terminated:
            states.append([step + 1, [float(x) for x in env.state]])
        if terminated:
            break
    return {
        "start": start,
        "actions": actions,
        "observations": [[shortest(x) for x in o] for o in observations],
        "rewards": rewards,
        "terminated": bool(terminated),
        "states": states,
    }


def observe(env):
    for name in ("_get_obs", "_get_ob"):
        if hasattr(env, name):
            return getattr(env, name)()
    return np.array(env.state, dtype=np.float32)


def make(name):
    return gymnasium.make(name, disable_env_checker=True).unwrapped


def cartpole(draw):
    env = make("CartPole-v1")
    start = dict(x=0.03, x_dot=-0.04, theta=0.02, theta_dot=0.01)
    lean = dict(x=-2.3, x_dot=-1.5, theta=-0.1, theta_dot=0.4)
    policies = [
        (start, lambda t, o: int(draw.integers(2))),
        (start, lambda t, o: 1),
        (start, lambda t, o: t % 2),
        (lean, lambda t, o: 0),
        (start, lambda t, o: int(o[2] + 0.3 * o[3] + 0.02 * o[1] > 0)),
    ]
    return [record(env, s, policy, 150) for s, policy in policies]


def pendulum(draw):
    env = make("Pendulum-v1")
    hanging = dict(theta=3.0, theta_dot=-0.5)
    return [
        record(env, hanging, lambda t, o: np.round(draw.uniform(-2, 2, 1), 3), 100),
        record(env, hanging, lambda t, o: np.array([2.0]), 60),
        record(env, dict(theta=-0.2, theta_dot=7.9), lambda t, o: np.array([-2.0]), 60),
        record(env, hanging, lambda t, o: np.array([2.0 if o[2] > 0 else -2.0]), 100),
    ]


def pendulum_float32(draw):
    env = make("Pendulum-v1")
    policy = lambda t, o: np.float32(draw.integers(-512, 513, 1) / 256)  # noqa: E731
    return [record(env, dict(theta=3.0, theta_dot=-0.5), policy, 100)]


def acrobot(draw):
    env = make("Acrobot-v1")
    start = dict(theta1=0.0625, theta2=-0.03125, dtheta1=0.015625, dtheta2=0.09375)
    return [
        record(env, start, lambda t, o: int(draw.integers(3)), 100),
        record(env, start, lambda t, o: 2, 60),
        record(env, start, lambda t, o: 2 if o[4] < 0 else 0, 100),
        record(env, dict(theta1=3.0, theta2=-3.0, dtheta1=-12.5, dtheta2=28.0), lambda t, o: 1, 10),
    ]


def mountaincar(draw):
    env = make("MountainCar-v0")
    return [
        record(env, dict(position=-0.45, velocity=0.0), lambda t, o: int(draw.integers(3)), 60),
        record(env, dict(position=-0.55, velocity=0.0), lambda t, o: 2 if o[1] >= 0 else 0, 200),
        record(env, dict(position=-1.0, velocity=-0.07), lambda t, o: 0, 20),
        record(env, dict(position=0.55, velocity=-0.01), lambda t, o: 2, 20),
    ]


def mountaincar_continuous(draw):
    env = make("MountainCarContinuous-v0")
    strong = lambda t, o: np.array([1 if o[1] >= 0 else -1], dtype=np.float32)  # noqa: E731
    weak = lambda t, o: np.float32(draw.integers(-256, 257, 1) / 256)  # noqa: E731
    episodes = [
        (dict(position=-0.45, velocity=0.0), weak, 80),
        (dict(position=-0.55, velocity=0.0), strong, 200),
        (dict(position=-1.0, velocity=-0.07), lambda t, o: np.float32([-0.25]), 20),
        (dict(position=0.5, velocity=-0.01), lambda t, o: np.float32([0.25]), 20),
    ]
    return [record(env, *episode, dtype=np.float32) for episode in episodes]


class Rounded:
    """A generator whose numbers have few digits, and which keeps what it has drawn."""

    def __init__(self, seed):
        self.draw, self.drawn = np.random.default_rng(seed), []

    def uniform(self, low, high, size=None):
        numbers = np.round(self.draw.uniform(low, high, size) * 64) / 64
        self.drawn.append(numbers.tolist())  # heights: before the caller levels the pad
        return numbers if size else float(numbers)


def land(seed, policy, n_steps, continuous=False):
    env = make("LunarLander-v3" if not continuous else "LunarLanderContinuous-v3")
    env._np_random = Rounded(seed)
    observations = [env.reset()[0]]
    actions, rewards = [], []
    for step in range(n_steps):
        actions.append(policy(step, observations[-1]))
        observation, reward, terminated, _, _ = env.step(np.array(actions[-1]) if continuous else actions[-1])
        observations.append(observation)
        rewards.append(float(reward))
        if terminated:
            break
    heights, force_x, force_y, *dispersions = env._np_random.drawn
    return {
        "continuous": continuous,
        "start": {"heights": heights, "force": [force_x, force_y]},
        "dispersions": [dispersions[i : i + 2] for i in range(0, len(dispersions), 2)],
        "actions": actions,
        "observations": [[shortest(x) for x in o] for o in observations],
        "rewards": [shortest(x) for x in rewards],
        "terminated": bool(terminated),
    }


def lunarlander(draw):
    random = lambda t, o: [float(x) for x in np.round(draw.uniform(-1, 1, 2), 3)]  # noqa: E731
    return [
        land(1, lambda t, o: 0, 35),
        land(2, lambda t, o: 2, 35),
        land(3, lambda t, o: 1, 35),
        land(4, lambda t, o: 3, 35),
        land(5, lambda t, o: int(draw.integers(4)), 35),
        land(6, random, 35, continuous=True),
    ]


POLICIES = {
    "idle": lambda env, s, draw: 0 if not env.continuous else np.zeros(2),
    "random": lambda env, s, draw: int(draw.integers(4)) if not env.continuous else draw.uniform(-1, 1, 2),
    "heuristic": lambda env, s, draw: lunar_lander.heuristic(env, s),
}


def returns_of(policy, n_episodes, **kwargs):
    env = gymnasium.make("LunarLander-v3", disable_env_checker=True, **kwargs)
    draw = np.random.default_rng(1)
    returns, lengths = [], []
    for episode in range(n_episodes):
        s, _ = env.reset(seed=episode)
        total, length, over = 0, 0, False
        while not over:
            s, r, terminated, truncated, _ = env.step(policy(env.unwrapped, s, draw))
            total, length, over = total + r, length + 1, terminated or truncated
        returns.append(total)
        lengths.append(length)
    return {
        "episodes": n_episodes,
        "mean": round(float(np.mean(returns)), 3),
        "deviation": round(float(np.std(returns, ddof=1)), 3),
        "length": round(float(np.mean(lengths)), 3),
        "length_deviation": round(float(np.std(lengths, ddof=1)), 3),
    }


def main():
    root = pathlib.Path(__file__).resolve().parents[2]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=pathlib.Path, default=root / "tests/fixtures/env")
    parser.add_argument("--episodes", type=int, default=10000, help="of each policy in LunarLander; 0 skips them")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    makers = [cartpole, pendulum, pendulum_float32, acrobot, mountaincar, mountaincar_continuous, lunarlander]
    for seed, maker in enumerate(makers):
        episodes = maker(np.random.default_rng(seed))
        lines = ",\n".join(json.dumps(episode, separators=(",", ":")) for episode in episodes)
        name = maker.__name__.replace("_", "-")
        (arguments.out / f"{name}.json").write_text(f"[\n{lines}\n]\n")
        print(f"{name}: " + ", ".join(f"{len(e['actions'])} steps, return {math.fsum(e['rewards']):.3f}" for e in episodes))

    if arguments.episodes > 0:
        returns = {}
        for continuous, wind in ((False, False), (True, False), (False, True)):
            for name, policy in POLICIES.items():
                key = f"{'continuous' if continuous else 'discrete'}{' wind' if wind else ''} {name}"
                returns[key] = returns_of(policy, arguments.episodes, continuous=continuous, enable_wind=wind)
                print(key, returns[key], flush=True)
        (arguments.out / "lunarlander_returns.json").write_text(json.dumps(returns, indent=1) + "\n")


if __name__ == "__main__":
    main()
