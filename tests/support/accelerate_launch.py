"""What `accelerate launch` tells the processes it starts, by accelerate's own code."""

from __future__ import annotations

from pathlib import Path

from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_deepspeed_cmd_env, prepare_multi_gpu_env


def environment(file: Path) -> dict[str, str]:
    """The variables of a configuration."""
    words = ["--config_file", str(file), "-m", "sage_bench", "train"]
    parsed = launch_command_parser().parse_args(words)
    given, config, _ = _validate_launch_command(parsed)
    if given.use_deepspeed:
        # as `launch_command` itself does before it starts DeepSpeed
        given.deepspeed_fields_from_accelerate_config = ",".join(config.deepspeed_config)
        _, found = prepare_deepspeed_cmd_env(given)
    else:
        found = prepare_multi_gpu_env(given)
    return {name: v for name, v in found.items() if name.startswith(("ACCELERATE_", "FSDP_"))}
