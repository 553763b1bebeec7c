"""Models that are read from a folder or the hub, written to them, and moved between devices."""

from __future__ import annotations

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch

from stemweave.checkpoints.model_folder import BUNDLED_MODEL, folder_of, saved_model, write_model
from stemweave.models.acceleration import accelerate
from stemweave.models.devices import checked_device
from stemweave.models.parts import PARTS, Parts

if TYPE_CHECKING:
    from typing_extensions import Self


class SavedModel(Parts):
    """Parts of a model with the ways to read, publish and place them."""

    @classmethod
    def from_pretrained(
        cls,
        source: str | Path | None = None,
        *,
        device: str = "cpu",
        dtype: str = "auto",
        compile: bool = False,
        sampler: str | None = None,
        **of_hub: Any,
    ) -> Self:
        """The model in a folder or on the hub (None: the bundled one); parts are read when needed.

        Args:
            device: "cpu", "cuda", ..., or "auto": the best one that works.
            dtype, compile: see ``acceleration.accelerate``.
            sampler: "ddim", "dpm++" or "unipc" instead of the model's own.
            of_hub: ``token``, ``cache_dir``, ``revision``, ... of huggingface_hub.

        Raises:
            InputError: if there is no such model, one of its settings is unknown, or the device
                cannot be used here.
        """
        chosen = checked_device(device)
        parts, settings = saved_model(folder_of(source or BUNDLED_MODEL, **of_hub))
        model = cls.__new__(cls)
        Parts.__init__(model, parts, settings, chosen)
        model.source = source or BUNDLED_MODEL
        if sampler is not None:
            from stemweave.diffusion.schedulers import with_sampler

            model.scheduler = with_sampler(model.scheduler, sampler)
        accelerate(model, dtype, compile)
        return model

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a model folder."""
        write_model(Path(folder), self.components, self.config)

    def push_to_hub(self, name: str, **options: Any) -> str:
        """Publish the model as ``name`` (owner/name) on the Hugging Face hub; returns its address.

        ``options`` are of ``huggingface_hub.HfApi.create_repo``: ``private``, ``token``, ...
        """
        from huggingface_hub import HfApi

        hub = HfApi(token=options.pop("token", None))
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            for pattern in ("*.md", "LICEN[CS]E*"):  # the model's card, its licence
                for page in Path(self.source or folder).glob(pattern):
                    if page.is_file() and not (Path(folder) / page.name).exists():
                        shutil.copy(page, folder)
            hub.create_repo(name, exist_ok=True, **options)
            hub.upload_folder(repo_id=name, folder_path=folder)
        return f"{hub.endpoint}/{name}"

    @property
    def components(self) -> dict[str, Any]:
        """All parts by name, None where the model has none; reads those that were not needed."""
        return {name: getattr(self, name) for name in PARTS}

    def to(self, device: str | torch.device) -> Self:
        """Run the networks on another device; raises ``InputError`` if it cannot be used."""
        self.move_to(checked_device(str(device)))
        return self

    def enable_model_cpu_offload(self, device: str = "cuda") -> None:
        """Run networks on ``device``, where each one is only while it computes."""
        self.move_to(checked_device(device), offload=True)
