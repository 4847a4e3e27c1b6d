"""The training loop, on one CPU, one GPU or several, by way of `accelerate`.

The loss of a step is a sum of nats over a sum of tokens, across all its batches and processes. Every process knows the
whole list of batches and takes its share, so one process with `accumulate` 2 does what two processes do with 1.
"""

import contextlib
import math
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from storygen import artifact
from storygen.config import GenerationConfig
from storygen.data.batches import IGNORED, collate, cut_windows, epoch_batches
from storygen.data.pack import PackedStories
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import likelihood
from storygen.models import LanguageModel, config_to_dict
from storygen.tokenizers import Tokenizer
from storygen.training.checkpoint import Checkpoint, Progress, save_checkpoint
from storygen.training.log import RunLog
from storygen.training.optimizer import build_optimizer, learning_rate
from storygen.training.settings import TrainConfig
from storygen.writer import Writer

SAMPLE = GenerationConfig(strategy="top_p", top_p=0.9, temperature=0.8, max_new_tokens=80, seed=0)


class NextTokenLoss(nn.Module):
    """The model with its loss, so that `torch.compile` and data parallelism see one module with a scalar result."""

    def __init__(self, model: LanguageModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Negative log-probability of the targets, summed, in nats."""
        logits, _ = self.model(inputs)
        return F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), ignore_index=IGNORED, reduction="sum")


class Trainer:
    """One training run in the folder `out`: log.jsonl, checkpoint.pt, and the artifact best/."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        train: PackedStories,
        valid: PackedStories | None,
        config: TrainConfig,
        out: Path,
    ) -> None:
        self.model, self.tokenizer, self.config, self.out = model, tokenizer, config, out
        self.train, self.valid = train, valid
        self.accelerator = Accelerator(mixed_precision=_mixed_precision(config.precision))
        self.progress, self.log = Progress(), RunLog(out)
        self.windows = cut_windows(train.length, model.config.context_length)
        module: nn.Module = NextTokenLoss(model)
        if config.compile:
            module = torch.compile(module)
        self.loss, self.optimizer = self.accelerator.prepare(module, build_optimizer(model, config))
        self._batches: tuple[int, list[np.ndarray]] = (-1, [])
        self._validated_at = -1
        self._signalled = False
        self.was_stopped = False
        """Whether a signal ended the run before its budget did."""
        self._started = time.monotonic()

    @property
    def identity(self) -> dict[str, Any]:
        """What the data is and how it is dealt out."""
        config = self.config
        return {
            "tokenizer": self.tokenizer.fingerprint,
            "corpus": self.train.manifest["fingerprint"],
            "seed": config.seed,
            "batch_tokens": config.batch_tokens,
            "batches of a step": config.accumulate * self.accelerator.num_processes,
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint; log lines after it are dropped, as they will be written again."""
        checkpoint.check(self.out, self.identity)
        try:
            self.model.load_state_dict(checkpoint.model)
            self.optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            raise StorygenError(f"the checkpoint in {self.out} does not fit the model: {error}") from None
        self.progress = checkpoint.progress
        if self.accelerator.is_main_process:
            self.log.rewind(self.progress.step)

    def run(self) -> Progress:
        """Trains until the budget is used up, or until Ctrl-C or SIGTERM; saves in either case."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic() - self.progress.seconds
        with self._signals(), self._bar() as bar:
            self.model.train()
            while (share := self._share_used()) < 1:
                loss, norm, tokens = self._step(learning_rate(self.config, self.progress.step, share))
                self._after_step(bar, loss, norm, tokens)
            self.was_stopped = math.isinf(share)
            if not self.was_stopped:
                self._validate()
            self._save()
        return self.progress

    def _step(self, rate: float) -> tuple[float, float, int]:
        """One optimizer step: its loss in nats per token, the gradient's norm and the number of tokens."""
        config, world, rank = self.config, self.accelerator.num_processes, self.accelerator.process_index
        torch.manual_seed(hash((config.seed, self.progress.step, rank)) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        where = f"epoch {self.progress.epoch}, batch {self.progress.batch}"
        batches = [self._next_batch() for _ in range(config.accumulate * world)]
        tokens = int(sum(self.windows.length[batch].sum() for batch in batches))
        mine = batches[rank::world]
        nats = torch.zeros((), device=self.accelerator.device)
        for number, batch in enumerate(mine, 1):
            inputs, targets = collate(self.train, self.windows, batch)
            last = number == len(mine)
            with contextlib.nullcontext() if last else self.accelerator.no_sync(self.loss):
                loss = self.loss(inputs.to(nats.device), targets.to(nats.device))
                self.accelerator.backward(loss * (world / tokens))  # data parallelism averages over processes
            nats += loss.detach()
        loss = self._sum(nats.item())[0] / tokens
        norm = float(self.accelerator.clip_grad_norm_(self.loss.parameters(), config.clip))
        if not (math.isfinite(loss) and math.isfinite(norm)):  # the same for all processes, so all stop
            stories = sorted({int(self.windows.story[window]) for batch in batches for window in batch})
            raise StorygenError(
                f"the loss is {loss} and the gradient's norm {norm} at step {self.progress.step + 1} ({where}, stories "
                f"{', '.join(map(str, stories[:20]))}); try a lower learning rate. The last checkpoint is kept"
            )
        self.optimizer.step()
        self.optimizer.zero_grad()
        return loss, norm, tokens

    def _sum(self, *values: float) -> list[float]:
        """Each value summed over all processes."""
        if self.accelerator.num_processes == 1:
            return list(values)
        told = torch.tensor(values, dtype=torch.float64, device=self.accelerator.device)
        return self.accelerator.reduce(told, "sum").tolist()

    def _next_batch(self) -> np.ndarray:
        """The windows of the next batch; a new epoch begins when the last one is used up."""
        progress = self.progress
        if self._batches[0] != progress.epoch:
            batches = epoch_batches(self.windows, self.config.batch_tokens, self.config.seed, progress.epoch)
            self._batches = (progress.epoch, batches)
        batch = self._batches[1][progress.batch]
        progress.batch += 1
        if progress.batch == len(self._batches[1]):
            progress.epoch, progress.batch = progress.epoch + 1, 0
        return batch

    def _share_used(self) -> float:
        """How much of the budget is used up, 0 to 1 and beyond, infinite after a signal: the same in all processes."""
        config, progress = self.config, self.progress
        progress.seconds = time.monotonic() - self._started
        budgets = (
            (progress.step, config.steps),
            (progress.tokens, config.tokens),
            (progress.seconds / 60, config.minutes),
        )
        share = max(used / budget for used, budget in budgets if budget is not None)
        if self._signalled:
            share = math.inf
        if self.accelerator.num_processes > 1:  # clocks and signals differ; the first to be done decides for all
            told = torch.tensor([share], device=self.accelerator.device)
            share = self.accelerator.gather(told).max().item()
        return share

    def _after_step(self, bar: tqdm, loss: float, norm: float, tokens: int) -> None:
        config, progress = self.config, self.progress
        progress.step += 1
        progress.tokens += tokens
        bar.update(tokens)
        figures = {
            "step": progress.step,
            "loss": f"{loss:.3f}",
            "bits_per_byte": f"{progress.best:.3f}" if progress.best else "-",
        }
        bar.set_postfix(figures, refresh=False)
        if progress.step % config.log_every == 0:
            rate = self.optimizer.param_groups[0]["lr"]
            self._log(loss=round(loss, 6), learning_rate=rate, gradient_norm=round(norm, 4))
        if progress.step % config.sample_every == 0:
            self._sample(bar)
        if progress.step % config.valid_every == 0:
            self._validate()
        if progress.step % config.save_every == 0:
            self._save()

    def _validate(self) -> None:
        """Bits per byte on the validation split (or a share of it); the best model so far is written to best/."""
        if self._validated_at == self.progress.step:
            return
        self._validated_at = self.progress.step
        if self.valid is None:
            self._save_best({})
            return
        stride = max(1, int(self.valid.length.sum()) // self.config.valid_tokens)
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        chosen = range(0, len(self.valid), stride)
        stories = chosen[rank::world]
        nats = text_bytes = 0.0
        if stories:
            pairs = ((self.valid.tokens(story), int(self.valid.text_bytes[story])) for story in stories)
            measured = likelihood(self.model, pairs)
            nats, text_bytes = measured.nats, measured.bytes
        nats, text_bytes = self._sum(nats, text_bytes)
        bits_per_byte = nats / text_bytes / math.log(2)
        self._log(valid_bits_per_byte=round(bits_per_byte, 5))
        best = math.inf if self.progress.best is None else self.progress.best
        if bits_per_byte < best:  # never true of a figure that is not a number
            self.progress.best = bits_per_byte
            self._save_best({"valid_bits_per_byte": bits_per_byte, "valid_stories": len(chosen)})

    def _save_best(self, metrics: dict[str, Any]) -> None:
        if self.accelerator.is_main_process:
            artifact.save(self.out / artifact.BEST, self.model, self.tokenizer, self.description(metrics))

    def description(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """The content of training.json: recipe, corpus, and how far the run has come."""
        manifest = self.train.manifest
        return {
            "recipe": {
                "model": config_to_dict(self.model.config),
                "train": self.config.to_dict(),
            },
            "corpus": {
                "fingerprint": manifest["fingerprint"],
                "inputs": manifest.get("inputs"),
                "tokenizer": manifest["tokenizer"],
                "tokens": manifest["splits"]["train"]["tokens"],
            },
            "parameters": self.model.num_parameters,
            "device": str(self.accelerator.device.type),
            "precision": {"no": "float32", "bf16": "bfloat16"}[self.accelerator.mixed_precision],
            "processes": self.accelerator.num_processes,
            "threads": torch.get_num_threads(),
            "steps": self.progress.step,
            "tokens": self.progress.tokens,
            "minutes": round(self.progress.seconds / 60, 2),
            "metrics": metrics,
        }

    def _save(self) -> None:
        """Writes the checkpoint to resume from."""
        self.progress.seconds = time.monotonic() - self._started
        if self.accelerator.is_main_process:
            checkpoint = Checkpoint(
                model=self.model.state_dict(),
                optimizer=self.optimizer.state_dict(),
                progress=self.progress,
                model_config=config_to_dict(self.model.config),
                train_config=self.config.to_dict(),
                identity=self.identity,
            )
            save_checkpoint(self.out, checkpoint)
        self.accelerator.wait_for_everyone()

    def _sample(self, bar: tqdm) -> None:
        if not self.accelerator.is_main_process:
            return
        self.model.eval()
        text = Writer(artifact.Artifact(self.model, self.tokenizer, self.out.name)).generate(config=SAMPLE).text
        self.model.train()
        self._log(sample=text)
        bar.write(f"step {self.progress.step}: {text}\n")

    def _log(self, **values: Any) -> None:
        if self.accelerator.is_main_process:
            progress = self.progress
            seconds = round(progress.seconds, 1)
            self.log.write(step=progress.step, tokens=progress.tokens, seconds=seconds, **values)

    def _bar(self) -> tqdm:
        return tqdm(
            desc=self.out.name, initial=self.progress.tokens, unit="tok", unit_scale=True,
            disable=not self.accelerator.is_local_main_process, mininterval=1.0,
        )  # fmt: skip

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """Ctrl-C and SIGTERM let the running step finish, then the run saves and ends; a second one ends it at once."""
        if threading.current_thread() is not threading.main_thread():  # only there can signals be caught
            yield
            return
        before: dict[int, Any] = {}

        def stop(number: int, _: Any) -> None:
            self._signalled = True
            signal.signal(number, before[number])

        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, stop)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _mixed_precision(precision: str) -> str:
    """The name that `accelerate` has for a precision."""
    if precision == "auto":
        precision = "bfloat16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "float32"
    return {"float32": "no", "bfloat16": "bf16"}[precision]
