#!/usr/bin/env python3
"""The rows of `foresight bench` that a PyTorch program would have, in PyTorch.

    python3 -m venv venv && venv/bin/pip install torch
    venv/bin/python benches/pytorch.py [--json] [--threads N] [--compile]

Same sizes, same work, same way of counting as `foresight bench --only network
--only plan --only gamma --only transformer`: random weights where the row
does not need trained ones, the median of 15 samples gone through in three
rounds, eager mode unless --compile is given. Run both in the same minutes on a
quiet machine. Rows whose work PyTorch has no ready layer for (spline flows,
cached beam search) are written the way its users write them: whole tensors, no
Python loop over rows, scaled_dot_product_attention, fused Adam.
"""

import argparse
import copy
import json
import math
import statistics
import time

import torch
from torch import nn
from torch.nn import functional as F

ROUNDS = 3


# --- the temporal U-Net of Diffuser (Janner et al. 2022, Appendix C) ---------


class SinusoidalEmbedding(nn.Module):
    """[batch] to [batch, width]."""

    def __init__(self, width):
        super().__init__()
        half = width // 2
        rates = torch.exp(torch.arange(half) * -(math.log(10000) / (half - 1)))
        self.register_buffer("rates", rates)

    def forward(self, t):
        phase = t[:, None] * self.rates
        return torch.cat([phase.sin(), phase.cos()], dim=-1)


def time_mlp(width):
    return nn.Sequential(
        SinusoidalEmbedding(width), nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width)
    )


def conv_block(inputs, outputs):
    return nn.Sequential(nn.Conv1d(inputs, outputs, 5, padding=2), nn.GroupNorm(8, outputs), nn.Mish())


class ResidualBlock(nn.Module):
    def __init__(self, inputs, outputs, width):
        super().__init__()
        self.first, self.second = conv_block(inputs, outputs), conv_block(outputs, outputs)
        self.embed = nn.Sequential(nn.Mish(), nn.Linear(width, outputs))
        self.skip = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x, t):
        y = self.first(x) + self.embed(t)[:, :, None]
        return self.second(y) + self.skip(x)


class TemporalUnet(nn.Module):
    """[batch, time, channels] to the same."""

    def __init__(self, channels, width=32, multipliers=(1, 4, 8), with_duration=False):
        super().__init__()
        widths = [channels] + [width * m for m in multipliers]
        pairs = list(zip(widths[:-1], widths[1:]))
        self.time = time_mlp(width)
        self.duration = time_mlp(width) if with_duration else None
        self.downs, self.ups = nn.ModuleList(), nn.ModuleList()
        for level, (a, b) in enumerate(pairs):
            last = level == len(pairs) - 1
            halve = nn.Identity() if last else nn.Conv1d(b, b, 3, 2, 1)
            self.downs.append(nn.ModuleList([ResidualBlock(a, b, width), ResidualBlock(b, b, width), halve]))
        top = widths[-1]
        self.middle = nn.ModuleList([ResidualBlock(top, top, width) for _ in range(2)])
        for a, b in reversed(pairs[1:]):
            double = nn.ConvTranspose1d(a, a, 4, 2, 1)
            self.ups.append(nn.ModuleList([ResidualBlock(2 * b, a, width), ResidualBlock(a, a, width), double]))
        self.last = nn.Sequential(conv_block(width, width), nn.Conv1d(width, channels, 1))

    def forward(self, x, times, durations=None):
        t = self.time(times)
        if self.duration is not None:
            t = t + self.duration(durations)
        x, skips = x.transpose(1, 2), []
        for first, second, halve in self.downs:
            x = second(first(x, t), t)
            skips.append(x)
            x = halve(x)
        for block in self.middle:
            x = block(x, t)
        for first, second, double in self.ups:
            x = double(second(first(torch.cat([x, skips.pop()], dim=1), t), t))
        return self.last(x).transpose(1, 2)


def released():
    return TemporalUnet(6)


def small(channels=6, with_duration=False):
    return TemporalUnet(channels, multipliers=(1, 2, 4), with_duration=with_duration)


def unet_step(network, shape):
    optimizer = torch.optim.Adam(network.parameters(), 2e-4, fused=True)
    x = torch.randn(shape)
    target, times = 0.5 * torch.randn(shape), torch.full(shape[:1], 7.0)
    durations = torch.full(shape[:1], 120.0)

    def step():
        loss = (network(x, times, durations) - target).square().mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def unet_forward(network, batch):
    x, times = torch.randn(batch, 128, 6), torch.full((batch,), 7.0)
    network.eval()

    @torch.inference_mode()
    def forward():
        network(x, times)

    return forward


def plan(network, candidates=96, waypoints=64, steps=5):
    """As many candidates as the full request on Large, DDIM with inpainted ends."""
    network.eval()
    betas = torch.arange(64)
    squared = lambda t: torch.cos(((t / 64) + 0.008) / 1.008 * math.pi / 2) ** 2
    abar = torch.cumprod(torch.clip(1 - squared(betas + 1.0) / squared(betas + 0.0), 0, 0.999).neg() + 1, 0)
    times = torch.linspace(63, 0, steps).round().long().tolist()
    ends = torch.randn(2, 4)

    def sample(n):
        x, durations = torch.randn(n, waypoints, 4), torch.linspace(100, 400, n)
        for t, after in zip(times, times[1:] + [None]):
            x[:, 0], x[:, -1] = ends[0], ends[1]
            clean = network(x, torch.full((n,), float(t)), durations)
            clean[:, 0], clean[:, -1] = ends[0], ends[1]
            if after is None:
                return clean
            eps = (x - abar[t].sqrt() * clean) / (1 - abar[t]).sqrt()
            x = abar[after].sqrt() * clean + (1 - abar[after]).sqrt() * eps

    @torch.inference_mode()
    def request():
        sample(candidates)

    return request


# --- the Trajectory Transformer (Janner et al. 2021) -------------------------


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x, cache=None, at=0):
        rows, time, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(rows, time, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k, v = qkv.unbind(0)
        if cache is not None:
            cache[0][:, :, at : at + time], cache[1][:, :, at : at + time] = k, v
            k, v = cache[0][:, :, : at + time], cache[1][:, :, : at + time]
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=time > 1)
        x = x + self.proj(seen.transpose(1, 2).reshape(rows, time, width))
        return x + self.mlp(self.norm2(x))


class Transformer(nn.Module):
    """One head per token of a transition, as released."""

    def __init__(self, width=64, per_transition=8, bins=100, positions=159, layers=4, heads=4):
        super().__init__()
        self.bins, self.per_transition, self.n_heads = bins, per_transition, heads
        self.tokens = nn.Embedding(bins * per_transition + 1, width)
        self.positions = nn.Parameter(torch.zeros(positions, width))
        self.blocks = nn.ModuleList([Block(width, heads) for _ in range(layers)])
        self.norm = nn.LayerNorm(width)
        self.heads = nn.Parameter(0.1 * torch.randn(per_transition, width, bins + 1))

    def embed(self, tokens, at=0):
        time = tokens.shape[1]
        places = torch.arange(at, at + time) % self.per_transition
        return self.tokens(tokens + places * self.bins) + self.positions[at : at + time]

    def forward(self, tokens):
        """[rows, time] to [per_transition, rows * transitions, bins + 1]."""
        rows, time = tokens.shape
        x = self.embed(tokens)
        for block in self.blocks:
            x = block(x)
        x = F.pad(self.norm(x), (0, 0, 0, -time % self.per_transition))
        by_place = x.view(-1, self.per_transition, x.shape[-1]).transpose(0, 1)
        return by_place @ self.heads

    def next(self, tokens, caches, at):
        """Log-probabilities of the token after `tokens`, which begin at `at`."""
        x = self.embed(tokens, at)
        for block, cache in zip(self.blocks, caches):
            x = block(x, cache, at)
        place = (at + tokens.shape[1] - 1) % self.per_transition
        return F.log_softmax(self.norm(x[:, -1]) @ self.heads[place], dim=-1)


def transformer_step(network, rows=32, time=160):
    decayed = [p for name, p in network.named_parameters() if p.dim() > 1 and "tokens" not in name]
    rest = [p for name, p in network.named_parameters() if not (p.dim() > 1 and "tokens" not in name)]
    groups = [{"params": decayed, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, 2e-3, betas=(0.9, 0.95), fused=True)
    average = copy.deepcopy(network).requires_grad_(False)
    data = torch.randint(0, 100, (2000, time))
    d = network.per_transition

    def step():
        window = data[torch.randint(0, len(data), (rows,))]
        scores = network(window[:, :-1])
        targets = F.pad(window[:, 1:], (0, 1), value=-1).view(-1, d).transpose(0, 1)
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), targets.reshape(-1), ignore_index=-1)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 0.005)
        return loss.item()

    return step


def transformer_action(network, beam=32, expand=2, horizon=15, context=5):
    """Beam search for reward with a key-value cache: every beam goes on with
    `expand` actions, the best `beam` by reward and reward-to-go stay."""
    d, width = network.per_transition, network.positions.shape[1]
    states, actions = 4, 2
    past = torch.randint(0, 100, (1, (context - 1) * d + states))
    longest = network.positions.shape[0]
    values = torch.linspace(0, 1, network.bins + 1)
    rows = beam * expand

    @torch.inference_mode()
    def action():
        shape = (rows, network.n_heads, longest, width // network.n_heads)
        caches = [(torch.empty(shape), torch.empty(shape)) for _ in network.blocks]
        first = [(k[:1], v[:1]) for k, v in caches]
        scores = network.next(past, first, 0)
        at = past.shape[1]
        for k, v in caches:
            k[:, :, :at], v[:, :, :at] = k[:1, :, :at].clone(), v[:1, :, :at].clone()
        scores = scores.expand(rows, -1)
        total, log_likelihood = torch.zeros(rows), torch.zeros(rows)
        first_actions = None
        for _ in range(horizon):
            for place in [*range(states, d), *range(states)]:
                if at == longest:
                    break
                token = torch.multinomial(scores.exp(), 1)
                log_likelihood += scores.gather(1, token)[:, 0]
                if place in (d - 2, d - 1):
                    total += (scores.exp() @ values) * 0.99
                if first_actions is None and place == states + actions - 1:
                    first_actions = token
                scores = network.next(token.clamp(max=network.bins - 1), caches, at)
                at += 1
                if place == d - 1:
                    best = total.topk(beam).indices.repeat_interleave(expand)
                    total, log_likelihood, scores = total[best], log_likelihood[best], scores[best]
                    first_actions = first_actions[best]
                    for k, v in caches:
                        k[:, :, :at], v[:, :, :at] = k[best, :, :at], v[best, :, :at]
        return first_actions[total.argmax()]

    return action


# --- the gamma-model: a conditional spline flow (Durkan et al. 2019) ---------

FLOOR = 1e-4


def spline(x, raw, bins, bound, circle, inverse):
    """x and raw parameters to the splined x and ln of its slope."""
    widths, heights = (F.softmax(part, -1) * (1 - FLOOR * bins) + FLOOR for part in raw[:, : 2 * bins].split(bins, -1))
    slopes = F.softplus(raw[:, 2 * bins : 3 * bins - (not circle)] + math.log(math.e - 1)) + FLOOR
    slopes = torch.cat([slopes, slopes[:, :1]], -1) if circle else F.pad(slopes, (1, 1), value=1.0)
    turn = raw[:, 3 * bins : 3 * bins + 1] if circle else torch.zeros_like(x)
    wrap = lambda x: torch.remainder(x + bound, 2 * bound) - bound
    inside = x.abs() < bound
    at = wrap(x + turn) if circle and not inverse else x.clamp(-bound, bound)
    edges = [F.pad(torch.cumsum(size, -1), (1, 0)) * 2 * bound - bound for size in (widths, heights)]
    bin = torch.searchsorted(edges[int(inverse)].detach().contiguous(), at.detach().contiguous()) - 1
    bin = bin.clamp(0, bins - 1)
    left, bottom = (edge.gather(-1, bin) for edge in edges)
    width, height = (2 * bound * size.gather(-1, bin) for size in (widths, heights))
    d0, d1, s = slopes.gather(-1, bin), slopes.gather(-1, bin + 1), height / width
    if inverse:
        up = at - bottom
        bend = up * (d0 + d1 - 2 * s)
        a, b, c = height * (s - d0) + bend, height * d0 - bend, -s * up
        xi = (2 * c / (-b - (b.square() - 4 * a * c).clamp(min=0).sqrt())).clamp(0, 1)
    else:
        xi = ((at - left) / width).clamp(0, 1)
    rest = 1 - xi
    below = s + (d0 + d1 - 2 * s) * xi * rest
    log_slope = 2 * s.log() + (d1 * xi.square() + 2 * s * xi * rest + d0 * rest.square()).log() - 2 * below.log()
    if inverse:
        moved, log_slope = left + xi * width, -log_slope
        moved = wrap(moved - turn) if circle else moved
    else:
        moved = bottom + height * (s * xi.square() + d0 * xi * rest) / below
    if circle:
        return moved, log_slope
    return torch.where(inside, moved, x), torch.where(inside, log_slope, torch.zeros_like(x))


class Gamma(nn.Module):
    """The `quick` preset over the pendulum: (angle, velocity) given a state,
    an action that may be unknown, and the discount."""

    COUPLINGS, BINS, HARMONICS = 6, 16, 8

    def __init__(self, hidden=128, layers=3):
        super().__init__()
        angle, velocity = 2 * self.HARMONICS, 1 + 2 * self.HARMONICS
        self.n_condition = angle + velocity + 2 + 2
        self.conditioners = nn.ModuleList()
        for turn in range(self.COUPLINGS):
            given = velocity if turn % 2 == 0 else angle
            outputs = 3 * self.BINS + 1 if turn % 2 == 0 else 3 * self.BINS - 1
            sizes = [given + self.n_condition] + [hidden] * layers
            mlp = [layer for a, b in zip(sizes, sizes[1:]) for layer in (nn.Linear(a, b), nn.ReLU())]
            self.conditioners.append(nn.Sequential(*mlp, nn.Linear(hidden, outputs)))

    def features(self, x, circle):
        phase = (x if circle else x * math.pi / 10) * torch.arange(1, self.HARMONICS + 1)
        waves = [phase.cos(), phase.sin()]
        return torch.cat(waves if circle else [x / 5, *waves], -1)

    def couple(self, turn, x, condition, inverse):
        target = turn % 2
        given = self.features(x[1 - target], circle=target == 1)
        raw = self.conditioners[turn](torch.cat([given, condition], -1))
        x[target], slope = spline(x[target], raw, self.BINS, math.pi if target == 0 else 10.0, target == 0, inverse)
        return slope

    @staticmethod
    def base(x):
        return -x[1].abs() - 2 * torch.log1p(torch.exp(-x[1].abs())) - math.log(2 * math.pi)

    def log_density(self, x, condition):
        x, total = list(x.split(1, -1)), 0
        for turn in range(self.COUPLINGS):
            total = total + self.couple(turn, x, condition, inverse=False)
        return total + self.base(x)

    def sample(self, condition):
        uniform = torch.rand(len(condition), 2).clamp(1e-7, 1 - 1e-7)
        x = [(2 * uniform[:, :1] - 1) * math.pi, torch.logit(uniform[:, 1:])]
        total = self.base(x)
        for turn in reversed(range(self.COUPLINGS)):
            total = total - self.couple(turn, x, condition, inverse=True)
        return torch.cat(x, -1), total


def gamma_step(network, batch=512):
    optimizer = torch.optim.Adam(network.parameters(), 1e-3, fused=True)
    average = copy.deepcopy(network).requires_grad_(False)
    data = torch.randn(20_000, network.n_condition)
    states = torch.rand(20_000, 2) * torch.tensor([2 * math.pi, 10.0]) - torch.tensor([math.pi, 5.0])

    def step():
        rows = torch.randint(0, len(data), (batch,))
        targets = states[rows] + 0.005 * torch.randn(batch, 2)
        # The share of targets that lies beyond 100 steps for discounts spread
        # over the logarithm of their horizon, up to 0.99.
        with torch.no_grad():
            n = batch // 20
            targets[:n] = average.sample(data[rows[:n]])[0]
        loss = -network.log_density(targets, data[rows]).mean()
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 0.005)
        return loss.item()

    return step


def occupancy(network, n=4096):
    condition = torch.randn(1, network.n_condition).expand(n, -1)

    @torch.inference_mode()
    def sample():
        network.sample(condition)

    return sample


# --- counting ----------------------------------------------------------------


def rows(wrap):
    """Name, and what makes the work; a network is made anew for every row."""
    return {
        "plan_large_full": lambda: plan(wrap(small(4, with_duration=True))),
        "diffuser_train_step": lambda: unet_step(wrap(released()), (32, 128, 6)),
        "diffuser_train_step_small": lambda: unet_step(wrap(small()), (32, 128, 6)),
        "diffuser_train_step_quick": lambda: unet_step(wrap(small(4, with_duration=True)), (64, 64, 4)),
        "diffuser_forward_b1": lambda: unet_forward(wrap(released()), 1),
        "diffuser_forward_b16": lambda: unet_forward(wrap(released()), 16),
        "diffuser_forward_b64": lambda: unet_forward(wrap(released()), 64),
        "occupancy_4096": lambda: occupancy(Gamma()),
        "gamma_train_step": lambda: gamma_step(Gamma()),
        "transformer_action_w64": lambda: transformer_action(Transformer(64)),
        "transformer_action_w128": lambda: transformer_action(Transformer(128)),
        "transformer_train_step": lambda: transformer_step(Transformer(64)),
    }


def median_ms(work, samples, warmup=3):
    for _ in range(warmup):
        work()
    times = []
    for _ in range(samples):
        start = time.perf_counter()
        work()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=15)
    parser.add_argument("--threads", type=int, help="all cores if absent")
    parser.add_argument("--compile", action="store_true", help="torch.compile for the U-Net")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", action="append", default=[], help="rows whose name contains this")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    wrap = torch.compile if options.compile else (lambda network: network)
    samples = -(-options.samples // ROUNDS)
    found = {}
    for _ in range(ROUNDS):
        for name, make in rows(wrap).items():
            if not options.only or any(part in name for part in options.only):
                found.setdefault(name, []).append(median_ms(make(), samples))
    results = [
        {"name": name, "median": statistics.median(medians), "unit": "ms", "n": samples * ROUNDS}
        for name, medians in found.items()
    ]
    device = f"PyTorch {torch.__version__}, {torch.get_num_threads()} threads" + (", compiled" if options.compile else "")
    if options.json:
        print(json.dumps({"device": device, "results": results}, indent=2))
        return
    print(device)
    for row in results:
        print(f"  {row['name']:<28}{row['median']:>9.1f} ms   n {row['n']}")


if __name__ == "__main__":
    main()
