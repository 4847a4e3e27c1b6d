"""The training loop, on one CPU, one GPU or several, by way of `accelerate`.

The loss of a step is a sum of nats over a sum of tokens, across all its batches and processes. Every process knows the
whole list of batches and takes its share, so one process with `accumulate` 2 does what two processes do with 1.
"""

import contextlib
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_state_dict, set_state_dict
from tqdm import tqdm

from storygen import artifact
from storygen.config import GenerationConfig
from storygen.data.batches import cut_windows
from storygen.data.shards import PackedStories
from storygen.errors import StorygenError
from storygen.models import LanguageModel, build_model, config_to_dict
from storygen.models.lora import add_adapters, merged
from storygen.tokenizers import Tokenizer
from storygen.training.checkpoint import Checkpoint, Progress, save_checkpoint
from storygen.training.curve import draw_curve
from storygen.training.guard import save_bad_step, told_when_out_of_memory
from storygen.training.interrupt import Interrupt
from storygen.training.loader import StepData, load_steps, plan_steps
from storygen.training.log import Interval, RunLog
from storygen.training.machine import set_up
from storygen.training.optimizer import build_optimizer, schedule
from storygen.training.settings import TrainConfig
from storygen.training.validation import NextTokenLoss, Validation, sum_over_processes
from storygen.writer import Writer

SAMPLE = GenerationConfig(strategy="top_p", top_p=0.9, temperature=0.8, max_new_tokens=80, seed=0)
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
"""States are gathered whole on the main process, however the model is spread over processes."""


class Trainer:
    """One training run in the folder `out`: log.jsonl, checkpoint.pt, the artifact best/, and curve.png at the end."""

    def __init__(
        self,
        model: LanguageModel,
        tokenizer: Tokenizer,
        train: PackedStories,
        valid: PackedStories | None,
        config: TrainConfig,
        out: Path,
        *,
        parent: dict[str, str] | None = None,
        track: str | None = None,
        choices: Mapping[str, Any] = MappingProxyType({}),
    ) -> None:
        """`parent` is the name and revision of the artifact that the weights come from. `track` names an experiment
        tracker of `accelerate` (tensorboard, trackio, wandb) that gets the log too. `choices` are those of a run that
        goes on (`Machine.choices`).
        """
        self.model, self.tokenizer, self.out = model, tokenizer, out
        self.train, self.config = train, config
        self.progress, self.log = Progress(), RunLog(out)
        self.windows = cut_windows(train, model.config.context_length)
        self.accelerator, self.machine = set_up(model, config, track, out, choices)
        if config.lora_rank:
            add_adapters(model, config.lora_rank)
        module: nn.Module = NextTokenLoss(model)
        if self.machine.compile:
            module = torch.compile(module)
        self.loss, self.optimizer = self.accelerator.prepare(module, build_optimizer(model, config))
        self.validation = Validation(valid, model, config, self.accelerator, self.machine) if valid else None
        self.parent, self._track = parent, track
        self._interrupt = Interrupt()
        self._interval = Interval()
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
            "optimizer": config.optimizer,
            "batch_tokens": config.batch_tokens,
            "batches of a step": config.accumulate * self.accelerator.num_processes,
        }

    def resume(self, checkpoint: Checkpoint) -> None:
        """Goes back to a checkpoint; log lines after it are dropped, as they will be written again."""
        checkpoint.check(self.out, self.identity)
        settings = [{k: v for k, v in group.items() if k != "params"} for group in self.optimizer.param_groups]
        try:
            set_state_dict(
                self.model,
                self.optimizer.optimizer,
                model_state_dict=checkpoint.model,
                optim_state_dict=checkpoint.optimizer,
                options=WHOLE,
            )
            for group, values in zip(self.optimizer.param_groups, settings, strict=True):
                group.update(values)  # those of this run, which may have changed some
            if self.accelerator.scaler and checkpoint.scaler:
                self.accelerator.scaler.load_state_dict(checkpoint.scaler)
        except (RuntimeError, ValueError, KeyError) as error:
            raise StorygenError(f"the checkpoint in {self.out} does not fit the model: {error}") from None
        self.progress, self.parent = checkpoint.progress, checkpoint.parent
        if self.machine.is_main:
            self.log.rewind(self.progress.step)
            for left in self.out.glob(artifact.BEST + ".unfinished-*"):  # of a run that was killed while it wrote
                shutil.rmtree(left)

    def run(self) -> Progress:
        """Trains until the budget is used up, or until Ctrl-C or SIGTERM; saves in either case."""
        self.out.mkdir(parents=True, exist_ok=True)
        self._started = time.monotonic() - self.progress.seconds
        self._log(start=self.machine.to_dict())
        if self._track:
            self.accelerator.init_trackers("storygen", config={**self.config.to_dict(), **self.model.config.to_dict()})
        try:
            with self._interrupt.watching(), self._bar() as bar:
                self._train(bar)
        finally:
            self.accelerator.end_training()
        if self.machine.is_main:
            draw_curve(self.out)
        return self.progress

    def _train(self, bar: tqdm) -> None:
        self.model.train()
        steps = self._steps()
        if self.progress.step and self.progress.step % self.config.valid_every == 0:
            self._validate()  # if the run was stopped while it did that
        if not self.progress.step and self.config.patience is not None:
            self._validate()  # nothing is better than what it starts from until it has proved to be
        while (used := self._share_used()) < 1:
            self._step(next(steps), schedule(self.config, self.progress.step, used))
            self._after_step(bar)
        if math.isfinite(used):
            self._validate()
        self.was_stopped = math.isinf(self._share_used())
        if self._interval.steps and not self.was_stopped:
            self._log_interval()
        self._save()

    def _steps(self) -> Iterator[StepData]:
        config, accelerator, progress = self.config, self.accelerator, self.progress
        per_step = config.accumulate * accelerator.num_processes
        plans = plan_steps(self.windows, config.batch_tokens, config.seed, per_step, progress.epoch, progress.batch)
        workers = 2 if accelerator.device.type == "cuda" else 0
        rank, world = accelerator.process_index, accelerator.num_processes
        return load_steps(self.train, self.windows, plans, rank, world, workers=workers)

    def _step(self, data: StepData, rate: float) -> None:
        """One optimizer step at this share of the learning rate, or none if loss or gradient is not finite."""
        config, progress, accelerator = self.config, self.progress, self.accelerator
        world, rank, began = accelerator.num_processes, accelerator.process_index, time.perf_counter()
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group["initial_lr"]
        tokens = int(sum(self.windows.length[batch].sum() for batch in data.plan.batches))
        nats = torch.zeros((), device=accelerator.device)
        for number, (inputs, targets) in enumerate(data.share):
            # Dropout depends on the batch, not on who computes it.
            torch.manual_seed(hash((config.seed, progress.step, number * world + rank)) % 2**63)
            last = number == len(data.share) - 1
            with (
                told_when_out_of_memory(progress.step + 1, *inputs.shape),
                contextlib.nullcontext() if last else accelerator.no_sync(self.loss),
            ):
                loss = self.loss(*(part.to(accelerator.device, non_blocking=True) for part in (inputs, targets)))
                accelerator.backward(loss * (world / tokens))  # data parallelism averages over processes
            nats += loss.detach()
        [loss] = sum_over_processes(accelerator, nats.item())
        loss /= tokens
        norm = accelerator.clip_grad_norm_(self.loss.parameters(), config.clip)
        norm = float(norm.full_tensor() if hasattr(norm, "full_tensor") else norm)
        progress.epoch, progress.batch = data.plan.epoch, data.plan.batch
        progress.step += 1
        progress.tokens += tokens
        if math.isfinite(loss) and math.isfinite(norm):  # the same for all processes
            with told_when_out_of_memory(progress.step, *inputs.shape):
                self.optimizer.step()
            progress.skipped_in_a_row = 0
        else:
            self._skip(data, loss, norm)
        self.optimizer.zero_grad()
        self._interval.add(loss, norm, tokens, norm > config.clip, time.perf_counter() - began)

    def _skip(self, data: StepData, loss: float, norm: float) -> None:
        """Leaves the weights alone and says so; after too many skips in a row the run ends, its batches saved."""
        progress, scaler = self.progress, self.accelerator.scaler
        if scaler:  # float16: the scale was too high; the scaler skips the step itself and tries a lower one
            self.optimizer.step()
        progress.skipped += 1
        if not scaler or scaler.get_scale() < 1:
            progress.skipped_in_a_row += 1
        self._log(skipped={"loss": str(loss), "gradient_norm": str(norm)})  # JSON has no NaN
        if progress.skipped_in_a_row <= self.config.max_skips:
            return
        path = self.out
        if self.machine.is_main:
            figures = {"step": progress.step, "loss": loss, "gradient_norm": norm}
            path = save_bad_step(self.out, data.plan, self.windows, self.train, self.tokenizer, **figures)
        raise StorygenError(
            f"the loss is {loss} and the gradient's norm {norm} at step {progress.step}, after "
            f"{progress.skipped_in_a_row - 1} steps that had to be skipped; try a lower learning rate. The batches are "
            f"in {path}, and the last checkpoint is kept"
        )

    @property
    def is_out_of_patience(self) -> bool:
        """Whether so many validations in a row as `patience` says were no better."""
        patience = self.config.patience
        return patience is not None and self.progress.validations_since_best >= patience

    def _share_used(self) -> float:
        """How much of the budget is used up, 0 to 1 and beyond, infinite after a signal: the same in all processes."""
        config, progress = self.config, self.progress
        progress.seconds = time.monotonic() - self._started
        budgets = (
            (progress.step, config.steps),
            (progress.tokens, config.tokens),
            (progress.seconds / 60, config.minutes),
        )
        used = max(spent / budget for spent, budget in budgets if budget is not None)
        if self.is_out_of_patience:
            used = max(used, 1.0)
        if self._interrupt.asked:
            used = math.inf
        if self.accelerator.num_processes > 1:  # clocks and signals differ; the first to be done decides for all
            told = torch.tensor([used], dtype=torch.float64, device=self.accelerator.device)
            used = self.accelerator.gather(told).max().item()
        return used

    def _after_step(self, bar: tqdm) -> None:
        config, progress, interval = self.config, self.progress, self._interval
        bar.update(progress.tokens - bar.n)
        best = f"{progress.best:.3f}" if progress.best else "-"
        bar.set_postfix({"step": progress.step, "loss": f"{interval.loss:.3f}", "bits_per_byte": best}, refresh=False)
        if progress.step % config.log_every == 0:
            self._log_interval()
        if progress.step % config.sample_every == 0:
            self._sample(bar)
        if progress.step % config.valid_every == 0:
            self._validate()
        if progress.step % config.save_every == 0:
            self._save()

    def _validate(self) -> None:
        """Measures bits per byte on the validation split; the best model so far is written to best/.

        Given up when a signal comes; the next call does it.
        """
        progress = self.progress
        if progress.validated == progress.step:
            return
        if self.validation is None:
            progress.validated = progress.step
            self._save_best({})
            return
        bits_per_byte = self.validation.measure(self.loss, self.model, lambda: self._interrupt.asked, progress.step)
        if bits_per_byte is None:
            return
        progress.validated = progress.step
        if math.isfinite(bits_per_byte):
            self._log(valid_bits_per_byte=round(bits_per_byte, 5))
        else:
            self._log(valid_failed=str(bits_per_byte))  # JSON has no NaN, and a curve no place for it
        best = math.inf if progress.best is None else progress.best
        if bits_per_byte < best:  # never true of a figure that is not a number
            progress.best, progress.validations_since_best = bits_per_byte, 0
            self._save_best({"valid_bits_per_byte": bits_per_byte, "valid_stories": len(self.validation)})
        else:
            progress.validations_since_best += 1

    def _whole_model(self) -> LanguageModel | None:
        """The model for one process to use alone: itself, a copy without adapters, or, on the main process, a copy of
        one that is sharded.
        """
        if self.config.lora_rank:
            return merged(self.model)
        if not self.machine.sharded:
            return self.model
        weights, _ = get_state_dict(self.model, [], options=WHOLE)
        if not self.machine.is_main:
            return None
        model = build_model(self.model.config)
        model.load_state_dict(weights)
        return model

    def _save_best(self, metrics: dict[str, Any]) -> None:
        model = self._whole_model()
        if self.machine.is_main:
            artifact.save(self.out / artifact.BEST, model, self.tokenizer, self.description(metrics))

    def description(self, metrics: dict[str, Any]) -> dict[str, Any]:
        """The content of training.json: recipe, corpus, and how far the run has come."""
        manifest, progress = self.train.manifest, self.progress
        return {
            "recipe": {"model": config_to_dict(self.model.config), "train": self.config.to_dict()},
            "corpus": {
                "fingerprint": manifest["fingerprint"],
                "inputs": manifest.get("inputs"),
                "tokenizer": manifest["tokenizer"],
                "chunking": self.train.chunking,
                "tokens": manifest["splits"]["train"]["tokens"],
            },
            **self.machine.to_dict(),
            "steps": progress.step,
            "skipped": progress.skipped,
            **({"parent": self.parent} if self.parent else {}),
            "tokens": progress.tokens,
            "minutes": round(progress.seconds / 60, 2),
            "metrics": metrics,
        }

    def _save(self) -> None:
        """Writes the checkpoint to resume from."""
        self.progress.seconds = time.monotonic() - self._started
        weights, optimizer = get_state_dict(self.model, self.optimizer.optimizer, options=WHOLE)
        if self.machine.is_main:
            scaler = self.accelerator.scaler
            checkpoint = Checkpoint(
                model=weights,
                optimizer=optimizer,
                progress=self.progress,
                model_config=config_to_dict(self.model.config),
                train_config=self.config.to_dict(),
                identity=self.identity,
                parent=self.parent,
                scaler=scaler.state_dict() if scaler else None,
                choices=self.machine.choices,
            )
            save_checkpoint(self.out, checkpoint)
        self.accelerator.wait_for_everyone()

    def _sample(self, bar: tqdm) -> None:
        model = self._whole_model()
        if not self.machine.is_main:
            return
        model.eval()
        text = Writer(artifact.Artifact(model, self.tokenizer, self.out.name)).generate(config=SAMPLE).text
        self.model.train()
        self._log(sample=text)
        bar.write(f"step {self.progress.step}: {text}\n")

    def _log_interval(self) -> None:
        self._log(learning_rate=self.optimizer.param_groups[0]["lr"], **self._interval.figures(self.machine))
        self._interval = Interval()

    def _log(self, **values: Any) -> None:
        progress = self.progress
        if self.machine.is_main:
            seconds = round(progress.seconds, 1)
            self.log.write(step=progress.step, tokens=progress.tokens, seconds=seconds, **values)
        if self._track:
            figures = {name: value for name, value in values.items() if isinstance(value, int | float | str)}
            self.accelerator.log(figures, step=progress.step)

    def _bar(self) -> tqdm:
        return tqdm(
            desc=self.out.name, initial=self.progress.tokens, unit="tok", unit_scale=True,
            disable=not self.accelerator.is_local_main_process, mininterval=1.0,
        )  # fmt: skip
