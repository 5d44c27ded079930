#!/usr/bin/env python
"""Train the demo weights that ship in `edgeclip/models/demo/`, on two CPU cores.

    python scripts/train_demo.py mobileclip-demo tinyclip-demo

Pictures are procedural scenes of colour-shape pairs seen in training; captions are true of them by construction. Each step
contrasts a batch of pictures with (a) all values of every attribute ("a red shape", "a blue shape", ...) and all seen pairs, of
which exactly one is true, and (b) captions of random attributes, where every picture that a caption is true of counts as a
positive. The held-out pairs appear in neither pictures nor captions.

The run is resumable (`--checkpoint`), seeded, and records its figures beside the weights. Token rows that no caption uses keep
their initial values, which `edgeclip.models.demo` regenerates, so only trained rows are stored.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from edgeclip.data import scenes
from edgeclip.data.clip_bpe import ClipBpe
from edgeclip.data.preprocess import preprocess_image
from edgeclip.data.prompts import DEFAULT_TEMPLATES
from edgeclip.models import MODELS
from edgeclip.models.demo import FIGURES_FILE, FOLDER
from edgeclip.models.demo.weights import initial_token_table, save_demo_weights
from edgeclip.models.pair import EncoderPair
from edgeclip.models.seeded import centre_embeddings
from edgeclip.spec import ModelSpec

STEPS = {"mobileclip-demo": 1400, "tinyclip-demo": 1600}
BATCH = 64
FREE_CAPTIONS = 24
GROUP_WEIGHTS = {"count": 0.5, "size": 0.5, "pattern": 0.5, "colour": 1.0, "shape": 1.0, "position": 0.5, "pair": 2.0}
LEARNING_RATE = 1e-3
WARMUP = 100
EMA = 0.995
REFRESHED = 4096  # scenes that BatchNorm's final statistics are measured on
POOL = 24_000  # scenes drawn once; each step takes a batch of them


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("models", nargs="+", choices=sorted(STEPS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="override the number of steps")
    parser.add_argument("--checkpoint", type=Path, default=Path("build/train-demo"), help="folder for resumable state")
    parser.add_argument("--out", type=Path, default=FOLDER, help="where weights and figures go")
    args = parser.parse_args()
    for name in args.models:
        train(MODELS[name], args.seed, args.steps or STEPS[name], args.checkpoint, args.out)


class Captions:
    """Caption texts to token ids, each distinct text once."""

    def __init__(self, tokenizer: ClipBpe) -> None:
        self.tokenizer = tokenizer
        self.rows: dict[str, np.ndarray] = {}

    def ids(self, texts: list[str]) -> Tensor:
        for text in texts:
            if text not in self.rows:
                self.rows[text] = self.tokenizer([text])[0]
        return torch.from_numpy(np.stack([self.rows[text] for text in texts])).long()


def attribute_groups() -> dict[str, list[dict[str, str]]]:
    """Sets of captions of which exactly one is true of a scene: one attribute, or a seen colour-shape pair."""
    groups = {name: [{name: value} for value in values] for name, values in scenes.ATTRIBUTES.items()}
    groups["pair"] = as_attributes(scenes.SEEN_PAIRS)
    return groups


def as_attributes(pairs: tuple[scenes.Pair, ...]) -> list[dict[str, str]]:
    return [{"colour": colour, "shape": shape} for colour, shape in pairs]


def random_attributes(scene: scenes.Scene, rng: random.Random) -> dict[str, str]:
    """A random non-empty part of what is true of a scene."""
    names = list(scenes.ATTRIBUTES)
    chosen = set(rng.sample(names, rng.choice((1, 2, 2, 3, 3, 4, 6))))
    return {name: getattr(scene, name) for name in names if name in chosen}


def caption(attributes: dict[str, str], rng: random.Random) -> str:
    return rng.choice(DEFAULT_TEMPLATES).format(scenes.phrase(attributes))


def short_context(pair: EncoderPair, ids: Tensor) -> Tensor:
    """Encode texts; a causal tower does not see what follows the end token, so it may skip the padding."""
    mask = getattr(pair.text, "attn_mask", None)
    if mask is None:
        return pair.encode_text(ids)
    length = int(ids.argmax(-1).max()) + 1
    pair.text.attn_mask = mask[:length, :length]
    try:
        return pair.encode_text(ids[:, :length])
    finally:
        pair.text.attn_mask = mask


class Prototypes(nn.Module):
    """One direction per attribute value, shared by both towers in training and discarded after it.

    Contrast alone starts on a long plateau: neither tower has anything to align with until the other has learnt it. Pulling
    pictures and captions towards common directions, attribute by attribute, ends it within a hundred steps, and since a
    caption's direction is then composed of its attributes', unseen pairs compose too.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.values = nn.ParameterDict({name: torch.randn(len(v), width) for name, v in scenes.ATTRIBUTES.items()})

    def loss(self, embeddings: Tensor, attributes: list[dict[str, str]], scale: Tensor) -> Tensor:
        """Mean over attributes of the cross-entropy of the rows that have the attribute."""
        losses = []
        for name, values in self.values.items():
            rows = [k for k, row in enumerate(attributes) if name in row]
            target = torch.tensor([scenes.ATTRIBUTES[name].index(attributes[k][name]) for k in rows])
            logits = scale * embeddings[rows] @ F.normalize(values, dim=-1).T
            losses.append(F.cross_entropy(logits, target))
        return torch.stack(losses).mean()


def step_loss(
    pair: EncoderPair,
    prototypes: Prototypes,
    images: Tensor,
    batch: list[scenes.Scene],
    captions: Captions,
    rng: random.Random,
) -> Tensor:
    """Contrast a batch of pictures with every group of captions, and with free captions of some of the pictures."""
    drawn = [random_attributes(scene, rng) for scene in rng.sample(batch, FREE_CAPTIONS)]
    free = list({tuple(attributes.items()): attributes for attributes in drawn}.values())
    groups = attribute_groups()
    named = [attributes for group in (free, *groups.values()) for attributes in group]
    image = F.normalize(pair.encode_image(images), dim=-1)
    ids = captions.ids([caption(attributes, rng) for attributes in named])
    text = F.normalize(short_context(pair, ids), dim=-1)
    scale = pair.logit_scale.exp().clamp(max=60)
    logits = scale * image @ text.T
    free_logits, *group_logits = logits.split([len(free), *map(len, groups.values())], dim=1)

    truth = torch.tensor([[scene.matches(a) for a in free] for scene in batch], dtype=torch.float32)
    losses = [F.cross_entropy(free_logits.T, (truth / truth.sum(0)).T)]
    for (name, group), values in zip(groups.items(), group_logits, strict=True):
        target = torch.tensor([next(k for k, a in enumerate(group) if scene.matches(a)) for scene in batch])
        losses.append(GROUP_WEIGHTS[name] * F.cross_entropy(values, target))
    contrast = torch.stack(losses).sum() / (1 + sum(GROUP_WEIGHTS.values()))
    whole = [{name: getattr(scene, name) for name in scenes.ATTRIBUTES} for scene in batch]
    return contrast + prototypes.loss(image, whole, scale) + prototypes.loss(text, named, scale)


def learning_rate(step: int, steps: int) -> float:
    if step < WARMUP:
        return LEARNING_RATE * (step + 1) / WARMUP
    return LEARNING_RATE * 0.5 * (1 + math.cos(math.pi * (step - WARMUP) / (steps - WARMUP)))


def parameter_groups(pair: EncoderPair, prototypes: Prototypes) -> list[dict[str, object]]:
    """Weight decay on matrices and kernels only; never on the token table, whose unused rows must stay as they are."""
    decay, plain = [], []
    for name, parameter in pair.named_parameters():
        free = parameter.ndim < 2 or "embedding" in name or "gamma" in name
        (plain if free else decay).append(parameter)
    plain += prototypes.parameters()
    return [{"params": decay, "weight_decay": 0.05}, {"params": plain, "weight_decay": 0.0}]


def sine_positions(count: int, width: int) -> Tensor:
    """Two-dimensional sine and cosine position codes, (count, width): a plain ViT learns where things are much sooner."""
    side = math.isqrt(count)
    waves = width // 4
    frequency = 1.0 / 50 ** (torch.arange(waves) / waves)
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    phases = [axis.reshape(-1, 1) * frequency for axis in (x, y)]
    return 0.6 * torch.cat([wave(phase) for phase in phases for wave in (torch.sin, torch.cos)], dim=1)


def fresh_pair(spec: ModelSpec, seed: int) -> EncoderPair:
    torch.manual_seed(seed)
    pair = spec.build(spec)
    with torch.no_grad():
        table = pair.text.token_embedding.weight
        table.copy_(initial_token_table(*table.shape))
        for name, parameter in pair.named_parameters():
            if name.endswith(".gamma"):  # published recipes start at 1e-5 and train for weeks
                parameter.fill_(0.2)
            if name == "visual.positional_embedding":
                parameter[1:] = sine_positions(parameter.shape[0] - 1, parameter.shape[1])
        pair.logit_scale.fill_(math.log(10.0))
    return pair


def train(spec: ModelSpec, seed: int, steps: int, checkpoints: Path, out: Path) -> None:
    started = time.perf_counter()
    rng = random.Random(seed)
    captions = Captions(ClipBpe.published(spec.tokenizer))
    pool = scenes.scenes(POOL, seed=seed + 1, pairs=scenes.SEEN_PAIRS)
    pictures = torch.stack([picture(scene, spec) for scene in pool])
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))

    pair = fresh_pair(spec, seed)
    first_scenes = pool[:256]
    ids = captions.ids([caption(random_attributes(scene, rng), rng) for scene in first_scenes])
    images = (pictures[:256].float() / 255 - mean) / std
    with torch.no_grad():
        centre_embeddings(pair, pair.encode_image(images), pair.encode_text(ids))
    average = torch.optim.swa_utils.AveragedModel(
        pair, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA)
    )  # buffers are copied, not averaged: the average of two -inf in a causal mask is NaN
    prototypes = Prototypes(spec.embed_dim)
    optimizer = torch.optim.AdamW(parameter_groups(pair, prototypes), lr=LEARNING_RATE, betas=(0.9, 0.98))
    state_file = checkpoints / f"{spec.name}.pt"
    first, spent = 0, 0.0
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        pair.load_state_dict(state["pair"])
        average.load_state_dict(state["average"])
        prototypes.load_state_dict(state["prototypes"])
        optimizer.load_state_dict(state["optimizer"])
        rng.setstate(state["rng"])
        torch.set_rng_state(state["torch_rng"])
        first, spent = state["step"], state["seconds"]
        print(f"{spec.name}: resumed at step {first}", flush=True)

    pair.train()
    for step in range(first, steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        chosen = [rng.randrange(len(pool)) for _ in range(BATCH)]
        images = (pictures[chosen].float() / 255 - mean) / std
        loss = step_loss(pair, prototypes, images, [pool[k] for k in chosen], captions, rng)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(pair.parameters(), 1.0)
        optimizer.step()
        average.update_parameters(pair)
        done = step + 1
        if done % 50 == 0:
            seconds = spent + time.perf_counter() - started
            print(f"{spec.name}: step {done}/{steps} loss {loss.item():.3f} {seconds:.0f} s", flush=True)
        if done % 300 == 0 or done == steps:
            print(f"{spec.name}: {accuracy(pair, spec, captions, 400)}", flush=True)
            checkpoints.mkdir(parents=True, exist_ok=True)
            torch.save(
                {
                    "pair": pair.state_dict(),
                    "average": average.state_dict(),
                    "prototypes": prototypes.state_dict(),
                    "optimizer": optimizer.state_dict(),
                    "rng": rng.getstate(),
                    "torch_rng": torch.get_rng_state(),
                    "step": done,
                    "seconds": spent + time.perf_counter() - started,
                },
                state_file,
            )

    final = average.module
    rng = random.Random(seed)
    texts = [caption(random_attributes(scene, rng), rng) for scene in pool[:REFRESHED]]
    refresh_statistics(final, (pictures[:REFRESHED].float() / 255 - mean) / std, captions.ids(texts))
    path = save_demo_weights(final, out / str(spec.demo_weights))
    figures_path = out / FIGURES_FILE
    figures = json.loads(figures_path.read_text()) if figures_path.exists() else {}
    figures[spec.name] = {
        "seed": seed,
        "steps": steps,
        "batch": BATCH,
        "wall_minutes": round((spent + time.perf_counter() - started) / 60, 1),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__.split("+")[0],
        "size_bytes": path.stat().st_size,
        "zero_shot_top1_percent": accuracy(final, spec, captions, 2000),
    }
    figures_path.write_text(json.dumps(figures, indent=2, sort_keys=True) + "\n")
    print(f"{spec.name}: wrote {path}", flush=True)


def picture(scene: scenes.Scene, spec: ModelSpec) -> Tensor:
    """A scene through the model's own preprocessing, as uint8 (3, H, W); some are drawn larger and scaled down."""
    size = spec.preprocess.size * (2 if scene.seed % 4 == 0 else 1)
    values = preprocess_image(scenes.draw(scene, size), spec.preprocess)
    return torch.from_numpy((values * 255).round().astype(np.uint8))


@torch.no_grad()
def refresh_statistics(pair: EncoderPair, images: Tensor, ids: Tensor) -> None:
    """Measure BatchNorm's statistics again: those of the last step do not fit averaged weights."""
    for module in pair.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.reset_running_stats()
            module.momentum = None  # a plain mean over the batches
    pair.train()
    for k in range(0, len(images), BATCH):
        pair.encode_image(images[k : k + BATCH])
        pair.encode_text(ids[k : k + BATCH])
    pair.eval()


@torch.no_grad()
def accuracy(pair: EncoderPair, spec: ModelSpec, captions: Captions, count: int) -> dict[str, float]:
    """Zero-shot top-1 in percent, with the default templates averaged, on scenes never used for training."""
    training = pair.training
    pair.eval()
    mean, std = (torch.tensor(v).reshape(1, 3, 1, 1) for v in (spec.preprocess.mean, spec.preprocess.std))

    def embed(candidates: list[dict[str, str]]) -> Tensor:
        ids = captions.tokenizer([t.format(scenes.phrase(c)) for c in candidates for t in DEFAULT_TEMPLATES])
        text = F.normalize(short_context(pair, torch.from_numpy(ids).long()), dim=-1)
        return F.normalize(text.reshape(len(candidates), len(DEFAULT_TEMPLATES), -1).mean(1), dim=-1)

    def encode(test: list[scenes.Scene]) -> Tensor:
        parts = []
        for start in range(0, len(test), 100):
            images = torch.stack([picture(scene, spec) for scene in test[start : start + 100]])
            parts.append(F.normalize(pair.encode_image((images.float() / 255 - mean) / std), dim=-1))
        return torch.cat(parts)

    def top1(test: list[scenes.Scene], image: Tensor, candidates: list[dict[str, str]]) -> float:
        best = (image @ embed(candidates).T).argmax(-1).tolist()
        return round(100 * sum(s.matches(candidates[k]) for k, s in zip(best, test, strict=True)) / len(test), 2)

    seen = scenes.scenes(count, seed=10_001, pairs=scenes.SEEN_PAIRS)
    held = scenes.scenes(count, seed=10_002, pairs=scenes.HELD_OUT_PAIRS)
    seen_images, held_images = encode(seen), encode(held)
    groups = attribute_groups()
    every, held_out = groups["pair"] + as_attributes(scenes.HELD_OUT_PAIRS), as_attributes(scenes.HELD_OUT_PAIRS)
    result = {
        "seen_pairs_among_all": top1(seen, seen_images, every),
        "held_out_among_held_out": top1(held, held_images, held_out),
        "held_out_among_all": top1(held, held_images, every),
    } | {name: top1(seen, seen_images, groups[name]) for name in scenes.ATTRIBUTES}
    pair.train(training)
    return result


if __name__ == "__main__":
    main()
