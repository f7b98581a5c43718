"""`sage-bench launch`: accelerate's configurations in the package, and the line with them."""

from __future__ import annotations

import pytest
from accelerate.commands.config.config_args import ClusterConfig
from accelerate.commands.launch import launch_command_parser
from accelerate.utils import DeepSpeedPlugin, FullyShardedDataParallelPlugin
from accelerate_launch import environment

from sage_bench.api.launching import check_devices, launch_of, packaged
from sage_bench.utils.errors import UsageError

TRAIN = ["train", "--backend", "sage", "--out", "runs/sage"]
CONFIGURATIONS = ("ddp-8gpu", "fsdp2-2x8gpu", "fsdp2-8gpu", "zero3-8gpu")


def test_the_package_has_these_configurations():
    assert tuple(packaged()) == CONFIGURATIONS


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_accelerate_reads_them(name):
    """Its own loader refuses unknown keys."""
    found = ClusterConfig.from_yaml_file(str(packaged()[name]))
    assert found.num_processes == (16 if name == "fsdp2-2x8gpu" else 8)


def test_fsdp_is_version_two():
    found = ClusterConfig.from_yaml_file(str(packaged()["fsdp2-8gpu"]))
    assert found.fsdp_config["fsdp_version"] == 2


def test_deepspeed_is_stage_three():
    found = ClusterConfig.from_yaml_file(str(packaged()["zero3-8gpu"]))
    assert found.deepspeed_config["zero_stage"] == 3


def test_accelerate_parses_the_line():
    launch = launch_of("fsdp2-8gpu", TRAIN, processes=4)
    parsed = launch_command_parser().parse_args(launch.line[2:])
    assert parsed.module
    assert parsed.num_processes == 4
    assert [parsed.training_script, *parsed.training_script_args] == [
        "sage_bench",
        *TRAIN,
        "--engine",
        "trl",
    ]


def test_an_engine_that_is_named_stays():
    assert launch_of("ddp-8gpu", [*TRAIN, "engine.name=mine"]).words == (*TRAIN, "engine.name=mine")


def test_two_machines_must_know_each_other():
    with pytest.raises(UsageError, match="--main-process-ip"):
        launch_of("fsdp2-2x8gpu", TRAIN)


def test_the_second_machine_is_told_its_number():
    launch = launch_of("fsdp2-2x8gpu", TRAIN, machine_rank=1, main_process_ip="10.0.0.1")
    assert launch.options == ("--machine_rank", "1", "--main_process_ip", "10.0.0.1")


def test_a_wrong_name_gets_a_suggestion():
    with pytest.raises(UsageError, match="did you mean `fsdp2-8gpu`"):
        launch_of("fsdp-8gpu", TRAIN)


@pytest.mark.parametrize("words", [[], ["eval", "--tasks", "tiny"]])
def test_only_train_is_launched(words):
    with pytest.raises(UsageError, match="only `train`"):
        launch_of("ddp-8gpu", words)


def test_missing_gpus_are_said_before_anything_starts(monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    with pytest.raises(UsageError, match="8 GPUs are wanted on this machine, 1 are visible"):
        check_devices(launch_of("fsdp2-8gpu", TRAIN))


def test_a_cpu_configuration_is_refused_with_what_to_type(tmp_path):
    file = tmp_path / "cpu.yaml"
    file.write_text("distributed_type: MULTI_CPU\nuse_cpu: true\nnum_processes: 2\n")
    with pytest.raises(UsageError, match="torchrun"):
        check_devices(launch_of(str(file), TRAIN))


# ---- what the started processes make of it -------------------------------------------------------
def started_with(name: str, monkeypatch) -> dict[str, str]:
    """The variables accelerate's launcher sets for a packaged configuration, in this process."""
    found = environment(packaged()[name])
    for variable, value in found.items():
        monkeypatch.setenv(variable, value)
    return found


@pytest.mark.parametrize("name", ["fsdp2-8gpu", "fsdp2-2x8gpu"])
def test_processes_make_a_plugin_of_fsdp2_from_it(name, monkeypatch):
    assert started_with(name, monkeypatch)["ACCELERATE_USE_FSDP"] == "true"
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2
    assert plugin.reshard_after_forward is True
    assert plugin.state_dict_type.name == "FULL_STATE_DICT"
    assert not plugin.cpu_ram_efficient_loading


def test_processes_make_a_plugin_of_zero_3_from_it(monkeypatch):
    assert started_with("zero3-8gpu", monkeypatch)["ACCELERATE_USE_DEEPSPEED"] == "true"
    plugin = DeepSpeedPlugin()
    settings = plugin.deepspeed_config["zero_optimization"]
    assert settings["stage"] == 3
    assert settings["offload_optimizer"] == {"device": "none", "nvme_path": None}
    assert settings["stage3_gather_16bit_weights_on_model_save"] is True


def test_processes_of_the_configuration_without_sharding_have_none(monkeypatch):
    found = started_with("ddp-8gpu", monkeypatch)
    assert {"ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED"}.isdisjoint(found)
