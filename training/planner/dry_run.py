"""Two real training steps, measured: a process of its own, so that its peak memory is its own.

    python -m training.planner.dry_run '{"source": "models/smollm2", "method": "lora", …}'

The last line of its output is one JSON object, the `Measured`. It makes the choices of the trainer
that decide about memory: transformers with SDPA attention, PEFT on all linear layers, NF4 with
double quantisation, AdamW in one fused kernel, float32 on a CPU and bfloat16 on a GPU.
"""

import gc
import json
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from training.planner.memory import Method, Run

_STEPS = 2


@dataclass(frozen=True, slots=True)
class Measured:
    """What two steps took.

    Args:
        peak_bytes: Highest memory while training: resident set on a CPU, allocated on a GPU.
        runtime_bytes: Memory of the process before the model was loaded (0 on a GPU).
        load_peak_bytes: Highest memory while loading.
        loaded_bytes: Memory once the model and adapters are there, before the first step.
        parameters: Number of the model's parameters, adapters left out.
        trained: Number of those that are trained.
        step_s: Seconds of the last step; the first also warms up.
        tokens_per_s: Tokens of a batch over `step_s`.
        loss: Loss of the last step, a sign that it computed something.
        device: What it ran on.
    """

    peak_bytes: int
    runtime_bytes: int
    load_peak_bytes: int
    loaded_bytes: int
    parameters: int
    trained: int
    step_s: float
    tokens_per_s: float
    loss: float
    device: str


def measure(run: Run, source: Path, *, random_weights: bool) -> Measured:
    """Train for two steps on random tokens, and say what that took.

    Args:
        run: What to run.
        source: A folder with weights, or a `config.json` where the weights are random.
        random_weights: Whether to make weights up instead of reading them.
    """
    import torch

    if not run.cpu and not torch.cuda.is_available():
        sys.exit("torch finds no GPU here; --gpu cpu makes the dry run on the CPU")
    device = torch.device("cpu" if run.cpu else "cuda")
    import peft  # noqa: F401 - the runtime's memory includes it, as the trainer's does

    gauge = _Gauge(run.cpu)
    runtime = gauge.now()
    model = _load(run, source, random_weights, device)
    parameters = _count(model)
    if run.method is not Method.FULL:
        model = _with_adapters(model, run)
    if run.checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
        model.enable_input_require_grads()
    model.config.use_cache = False
    model.train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = _optimizer(run, trained)
    gc.collect()
    load_peak, loaded = gauge.peak(), gauge.now()
    gauge.reset()
    seconds, loss = 0.0, 0.0
    for _ in range(_STEPS):
        seconds, loss = _step(model, optimizer, trained, run, device)
    return Measured(
        peak_bytes=gauge.peak(),
        runtime_bytes=runtime,
        load_peak_bytes=load_peak,
        loaded_bytes=loaded,
        parameters=parameters,
        trained=sum(parameter.numel() for parameter in trained),
        step_s=seconds,
        tokens_per_s=run.batch * run.tokens / seconds,
        loss=loss,
        device=f"CPU, {torch.get_num_threads()} threads"
        if run.cpu
        else torch.cuda.get_device_name(),
    )


def _step(
    model: Any, optimizer: Any, trained: list[Any], run: Run, device: Any
) -> tuple[float, float]:
    """Make one step and return its seconds and loss."""
    import torch

    began = time.perf_counter()
    tokens = torch.randint(0, model.config.vocab_size, (run.batch, run.tokens), device=device)
    mask = torch.ones_like(tokens)
    if run.padded:
        mask[0, -1] = 0  # one padded row makes the attention take a mask, as real batches do
    labels = tokens.masked_fill(mask == 0, -100)
    with torch.autocast(device.type, torch.bfloat16, enabled=not run.cpu):
        loss = model(input_ids=tokens, attention_mask=mask, labels=labels).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    value = float(loss.detach())
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - began, value


def _load(run: Run, source: Path, random_weights: bool, device: Any) -> Any:
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    dtype = torch.float32 if run.cpu or run.method is Method.FULL else torch.bfloat16
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "sdpa"}
    quantised = _nf4(dtype) if run.method is Method.QLORA else None
    if not random_weights:
        if quantised is not None:
            options |= {"quantization_config": quantised, "device_map": {"": str(device)}}
        return AutoModelForCausalLM.from_pretrained(source, **options).to(device)
    config = AutoConfig.from_pretrained(source)
    if quantised is None:
        with torch.device(device):
            return AutoModelForCausalLM.from_config(config, **options)
    return _quantised_random(config, options, quantised, device)


def _nf4(dtype: Any) -> Any:
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )


def _quantised_random(config: Any, options: dict[str, Any], quantised: Any, device: Any) -> Any:
    """Build a 4-bit model layer by layer, so that a 16-bit copy of all of it is never needed."""
    import torch
    from bitsandbytes.nn import Linear4bit, Params4bit
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(config, **options)
    head = model.get_output_embeddings()
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if not isinstance(child, torch.nn.Linear) or child is head:
                continue
            layer = Linear4bit(
                child.in_features,
                child.out_features,
                bias=child.bias is not None,
                compute_dtype=quantised.bnb_4bit_compute_dtype,
                compress_statistics=True,
                quant_type="nf4",
                device="meta",
            )
            weight = torch.randn(child.out_features, child.in_features, dtype=options["dtype"])
            layer.weight = Params4bit(
                weight * 0.02, requires_grad=False, quant_type="nf4", module=layer
            )
            if child.bias is not None:
                layer.bias = torch.nn.Parameter(torch.zeros(child.out_features))
            setattr(module, name, layer.to(device))
    return _filled(model, device, options["dtype"])


def _filled(model: Any, device: Any, dtype: Any) -> Any:
    """Give what is still on the meta device random numbers, and the rotary buffers their values."""
    import torch

    for module in model.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_meta:
                values = torch.randn(parameter.shape, dtype=dtype, device=device) * 0.02
                setattr(module, name, torch.nn.Parameter(values, requires_grad=False))
    rotary = model.model.rotary_emb
    model.model.rotary_emb = type(rotary)(model.config).to(device)
    model.tie_weights()
    model.is_loaded_in_4bit = True
    return model


def _with_adapters(model: Any, run: Run) -> Any:
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training

    if run.method is Method.QLORA:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    config = LoraConfig(
        r=run.rank,
        lora_alpha=2 * run.rank,
        lora_dropout=run.dropout,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _optimizer(run: Run, trained: list[Any]) -> Any:
    import torch

    if run.paged_8bit:
        from bitsandbytes.optim import PagedAdamW8bit

        return PagedAdamW8bit(trained, lr=1e-4)
    return torch.optim.AdamW(trained, lr=1e-4, fused=True)


def _count(model: Any) -> int:
    """Count parameters; one of 4 bits stands for its original shape."""
    total = 0
    for parameter in model.parameters():
        state = getattr(parameter, "quant_state", None)
        total += parameter.numel() if state is None else state.shape.numel()
    return total


class _Gauge:
    """Reads memory: the resident set of Linux on a CPU, torch's allocator on a GPU."""

    def __init__(self, cpu: bool) -> None:
        self._cpu = cpu

    def now(self) -> int:
        if self._cpu:
            return _status("VmRSS")
        import torch

        return int(torch.cuda.memory_allocated())

    def peak(self) -> int:
        if self._cpu:
            return _status("VmHWM")
        import torch

        return int(torch.cuda.max_memory_allocated())

    def reset(self) -> None:
        """Forget the peak (`proc(5)`: writing 5 to clear_refs resets VmHWM)."""
        if self._cpu:
            Path("/proc/self/clear_refs").write_text("5")
            return
        import torch

        torch.cuda.reset_peak_memory_stats()


def _status(field: str) -> int:
    """Return a line of /proc/self/status in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/self/status has no {field}")


def main(argument: str) -> None:
    """Run what the JSON says and print what it took."""
    wish: dict[str, Any] = json.loads(argument)
    run = Run(**{**wish["run"], "method": Method(wish["run"]["method"])})
    measured = measure(run, Path(wish["source"]), random_weights=wish["random_weights"])
    print(json.dumps(asdict(measured)))


if __name__ == "__main__":
    main(sys.argv[1])
