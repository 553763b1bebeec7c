"""Trains a tiny denoiser in shards on CPUs: ``torchrun fsdp_worker.py FOLDER``.

accelerate shards on GPUs only; here its state is set by hand, and everything below is as there.
"""

import json
import sys
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

import stemweave.training.loop as loop
from stemweave.models.compact import CompactUNet
from stemweave.models.unet3d import UNet3D
from stemweave.training.stage_settings import OptimiserSettings, StageSettings

KINDS = {
    "compact": lambda: CompactUNet(
        latent_channels=2, latent_bands=8, block_channels=(16, 32), blocks_per_level=1,
        attention_levels=(1,), embedding_channels=16,
    ),
    "unet3d": lambda: UNet3D(
        latent_channels=2, model_channels=32, channel_mult=(1, 2), num_res_blocks=1,
        attention_resolutions=(2,),
    ),
}  # fmt: skip


class ShardingOnCPU(Accelerator):
    def __init__(self, **options):
        super().__init__(**options)
        plugin = FullyShardedDataParallelPlugin(
            fsdp_version=2, auto_wrap_policy="transformer_based_wrap"
        )
        self.state._shared_state["distributed_type"] = DistributedType.FSDP
        self.state._shared_state["fsdp_plugin"] = plugin


class NoiseStage:
    """Fits noise to noise: two samples a process and step."""

    def __init__(self, kind: str, steps: int) -> None:
        torch.manual_seed(0)
        self.network = KINDS[kind]()
        self.network.gradient_checkpointing = True
        optimiser = OptimiserSettings(learning_rate=1e-2, warmup_steps=1, schedule="constant")
        self.settings = StageSettings(
            optimiser=optimiser, steps=steps, validate_every_steps=1, log_every_steps=1
        )

    def loss(self, network, step, rng, generator):
        latents, target = torch.randn(2, 2, 4, 2, 8, 8, generator=generator)
        loss = (network(latents, torch.tensor([3, 7])) - target).square().mean()
        return loss, {}

    def validate(self, network):
        out = network(torch.ones(1, 4, 2, 8, 8), torch.tensor([5]))
        return {"val": out.square().mean().item()}

    def export(self, network, folder):
        network.save_pretrained(folder)


def train(kind: str, folder: Path, steps: int) -> None:
    """To step ``steps`` from the checkpoint, if there is one."""
    run = loop.TrainingRun(NoiseStage(kind, steps), folder, 0, "no", "cpu")
    run.resume()
    lines = []
    run.run(lambda step, figures: lines.append(figures))
    if run.accelerator.is_main_process:
        with (folder / "log.jsonl").open("a") as file:
            file.writelines(json.dumps(line) + "\n" for line in lines)
    run.accelerator.wait_for_everyone()


if __name__ == "__main__":
    loop.Accelerator = ShardingOnCPU
    for kind in KINDS:
        for steps in (1, 2):
            train(kind, Path(sys.argv[1]) / kind, steps)
    torch.distributed.destroy_process_group()
