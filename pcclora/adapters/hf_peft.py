"""CLoRA as a method of Hugging Face peft: importing this file registers it with ``peft.get_peft_model``.

    import peft
    from pcclora.adapters.hf_peft import CLoraConfig

    model = peft.get_peft_model(model, CLoraConfig(r=8, bases=4, modules_to_save=["head"]))
    loss = task_loss + model.regularization()

The mathematics is :class:`pcclora.adapters.CLoRA` itself, so outputs are equal bit for bit
(tests/adapters/test_hf_peft.py). Methods of peft keep their numbers in the layers that they replace; the bases, which
layers share, are kept by the tuner instead, in one container a shape, named so that peft itself saves and loads them.

peft's list of methods is a closed enum. :func:`extend_peft_types` adds to it, and refuses where that does not work.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any, cast

import torch
from torch import Tensor, nn

from pcclora.adapters.methods.clora import CLoRA, CLoRAConfig
from pcclora.adapters.targets import ending
from pcclora.errors import PccloraError
from pcclora.extras import pip_line

PIP_LINE = pip_line("peft")
SUPPORTED = "0.18 to 0.21"

try:
    import peft
    from peft.tuners.tuners_utils import BaseTuner, BaseTunerLayer, check_adapters_to_merge
    from peft.utils import PeftType, register_peft_method
except ImportError as error:
    raise PccloraError(f"Hugging Face peft {SUPPORTED} cannot be imported ({error}); install it: {PIP_LINE}") from error


def extend_peft_types(name: str) -> PeftType:
    """Add a member to peft's enum of methods; once it is there, return it.

    Args:
        name: In capitals; the member's value too.

    Raises:
        PccloraError: If this version of peft, or of Python, does not take it.
    """
    types: Any = PeftType
    try:
        if name not in types.__members__:
            member = str.__new__(types, name)
            member._name_ = member._value_ = name
            type.__setattr__(types, name, member)
            types._member_map_[name] = types._value2member_map_[name] = member
            types._member_names_.append(name)
        there = types(name) is types[name] is getattr(types, name) and name in [*types]
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _refusal(error) from error
    if not there:
        raise _refusal(f"{types.__name__} has no {name} after it was added")
    return cast("PeftType", types[name])


def _refusal(reason: object) -> PccloraError:
    return PccloraError(
        f"CLoRA cannot be registered with peft {peft.__version__} ({reason}); it can with {SUPPORTED}: {PIP_LINE}"
    )


@dataclass
class CLoraConfig(peft.PeftConfig, CLoRAConfig):  # type: ignore[misc]
    """Settings of CLoRA in peft: those of :class:`pcclora.CLoRAConfig` and those that every config of peft has.

    Attributes:
        target_modules: Endings of module names as for peft's LoRA, each with rows of a fused map if wanted
            (``["attn.qkv[q,v]", "attn.proj"]``), ``*`` for one path segment. None takes q, k, v and the output of every
            attention, for ``placement="input"`` what reads the input of an attention or an MLP.
        modules_to_save: As everywhere in peft: endings of the names of modules that train beside the adapter. None is
            none: name a new head.
    """

    def __post_init__(self) -> None:
        """Refuse values that have no meaning."""
        for parent in (peft.PeftConfig, CLoRAConfig):
            getattr(parent, "__post_init__", lambda _: None)(self)  # peft's has one in its newer versions only
        self.peft_type = extend_peft_types("CLORA")

    def own(self) -> CLoRAConfig:
        """Return the settings without those of peft; what ``modules_to_save`` names, peft takes care of."""
        values = {setting.name: getattr(self, setting.name) for setting in fields(CLoRAConfig)}
        return CLoRAConfig(**values | {"modules_to_save": ()})


class CLoraLinear(nn.Module, BaseTunerLayer):  # type: ignore[misc]
    """A linear map that the active adapter changes.

    Args:
        base_layer: The frozen map.
        key: Its name in the model.
        adapters: All adapters of the model, by name; the tuner's own dictionary.
    """

    adapter_layer_names = ("clora_adapters",)
    base_layer: nn.Linear
    clora_adapters: nn.ModuleDict
    original: Tensor | None

    def __init__(self, base_layer: nn.Linear, key: str, adapters: nn.ModuleDict) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.key = key
        self.__dict__["clora_adapters"] = adapters  # past __setattr__: what is shared belongs to the tuner alone
        self.merged_adapters: list[str] = []
        self.register_buffer("original", None, persistent=False)  # a buffer, so that it moves along

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., d_in) to (..., d_out) with the active adapter, if it acts here."""
        if self.disable_adapters and self.merged:
            self.unmerge()
        acting = [] if self.disable_adapters or self.merged else self._acting(self.active_adapters)
        if not acting:
            return cast("Tensor", self.base_layer(x))
        return self._adapter(acting[0]).linear(self.key, x, self.base_layer.weight, self.base_layer.bias)

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Put an adapter into the weight, beside which the original is kept.

        Args:
            safe_merge: Refuse values that are not finite.
            adapter_names: Which adapter; None is the active one.

        Raises:
            PccloraError: If the result is not finite.
        """
        for name in self._acting(check_adapters_to_merge(self, adapter_names)):
            weight = self.base_layer.weight
            with torch.no_grad():
                merged, _ = self._adapter(name).merged(self.key, weight, self.base_layer.bias)
            if safe_merge and not merged.isfinite().all():
                raise PccloraError(f"'{self.key}': adapter '{name}' is not finite, so it is not merged; train it again")
            self.original, weight.data = weight.data, merged
            self.merged_adapters.append(name)

    def unmerge(self) -> None:
        """Put the original weight back, bit for bit."""
        if self.original is not None:
            self.base_layer.weight.data = self.original
        self.original = None
        self.merged_adapters.clear()

    def _acting(self, names: list[str]) -> list[str]:
        acting = [name for name in names if name in self.clora_adapters and self.key in self._adapter(name).acts_on]
        if len(acting) + len(self.merged_adapters) > 1:
            raise PccloraError(
                f"'{self.key}': adapters {', '.join([*self.merged_adapters, *acting])} at once; CLoRA has one at a time"
            )
        return acting

    def _adapter(self, name: str) -> CLoRA:
        return cast("CLoRA", self.clora_adapters[name])


class CLoraModel(BaseTuner):  # type: ignore[misc]
    """CLoRA on one model, as peft drives it. It keeps the bases of each shape as ``clora_<shape>.<adapter>``."""

    uses_shared_state = True
    prefix = "clora_"
    tuner_layer_cls = CLoraLinear
    clora_adapters: nn.ModuleDict

    def regularization(self) -> Tensor:
        """Return what the active adapter adds to the loss: ``diversity`` times SADE, a scalar."""
        adapters = [cast("CLoRA", self.clora_adapters[name]) for name in self.active_adapters]
        return torch.stack([adapter.regularization() for adapter in adapters]).sum()

    def inject_adapter(self, model: nn.Module, adapter_name: str, *args: Any, **kwargs: Any) -> None:
        """Make the adapter, then let peft replace the linear maps that it acts on."""
        if "clora_adapters" not in self.__dict__:
            self.__dict__["clora_adapters"] = nn.ModuleDict()  # unregistered: its numbers are those of the containers
        config = cast("CLoraConfig", self.peft_config[adapter_name])
        with _bare(model):
            if config.target_modules is not None:
                config.target_modules = tuple(ending(model, config.target_modules))
            adapter = CLoRA(config.own(), model)
        config.target_modules = tuple(map(str, adapter.targets))
        self.clora_adapters[adapter_name] = adapter
        for shape, bases in adapter.groups.items():
            if not hasattr(self, self.prefix + shape):
                self.add_module(self.prefix + shape, nn.ModuleDict())
            self._container(shape)[adapter_name] = bases
        super().inject_adapter(model, adapter_name, *args, **kwargs)

    def delete_adapter(self, adapter_name: str) -> None:
        """Forget an adapter and its bases."""
        shapes = list(cast("CLoRA", self.clora_adapters[adapter_name]).groups)
        super().delete_adapter(adapter_name)
        for shape in shapes:
            del self._container(shape)[adapter_name]

    def _container(self, shape: str) -> nn.ModuleDict:
        return cast("nn.ModuleDict", self.get_submodule(self.prefix + shape))

    def _prepare_adapter_config(self, peft_config: Any, model_config: Any) -> Any:
        return peft_config

    @staticmethod
    def _check_target_module_exists(peft_config: Any, key: str) -> bool:
        return any(key == target.partition("[")[0] for target in peft_config.target_modules or ())

    def _create_and_replace(
        self,
        peft_config: Any,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
        parameter_name: str | None = None,
    ) -> None:
        if not isinstance(target, CLoraLinear):
            new = CLoraLinear(cast("nn.Linear", target), current_key, self.clora_adapters)
            self._replace_module(parent, target_name, new, target)


@contextmanager
def _bare(model: nn.Module) -> Iterator[None]:
    """Give a model its linear maps back, for a while, under their own names."""
    layers = {name: module for name, module in model.named_modules() if isinstance(module, CLoraLinear)}
    for name, layer in layers.items():
        model.set_submodule(name, layer.base_layer)
    try:
        yield
    finally:
        for name, layer in layers.items():
            model.set_submodule(name, layer)


def _register() -> None:
    if CLoraModel.__abstractmethods__:
        raise _refusal(f"its tuners do not have {', '.join(sorted(CLoraModel.__abstractmethods__))}")
    extend_peft_types("CLORA")
    try:
        register_peft_method(name="clora", config_cls=CLoraConfig, model_cls=CLoraModel, prefix=CLoraModel.prefix)
    except (KeyError, TypeError, ValueError) as error:
        raise _refusal(error) from error


_register()
