"""`--on`: what may be asked for, what it takes, and that no slot is handed out twice."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from traindeck.core.devices.assignment import Assignment, HardwareMissing, Wait, environment
from traindeck.core.devices.cpu import CpuInfo
from traindeck.core.devices.inventory import Inventory
from traindeck.core.devices.model import Accelerator
from traindeck.core.devices.request import DeviceRequest, RequestError, assign, parse_request

GIB = 1 << 30


def machine(
    cores: int = 8,
    gpus: tuple[Accelerator, ...] = (),
    *,
    hyperthreads: bool = False,
    quota: float | None = None,
    notes: tuple[str, ...] = (),
) -> Inventory:
    usable = tuple(range(cores))
    half = cores // 2
    siblings = tuple(core % half for core in usable) if hyperthreads else usable
    cpu = CpuInfo("FAKE CPU", "x86_64", cores, cores, usable, siblings, quota, 64 * GIB)
    return Inventory(cpu, gpus, notes)


def gpu(index: int, uuid: str = "", used: int = 0, **rest: object) -> Accelerator:
    made = Accelerator(
        "gpu", "nvidia", index, uuid or f"GPU-{index:08x}", "FAKE H200", 141 * GIB, used
    )
    return dataclasses.replace(made, **rest)  # type: ignore[arg-type]


SPLIT = (
    gpu(0),
    gpu(1, split=True),
    gpu(1, "MIG-aaaa", slice=0),
    gpu(1, "MIG-cccc", slice=2),
)


def granted(on: str, inventory: Inventory, free: set[str] | None = None) -> Assignment:
    request = parse_request(on)
    slots = set(request.candidates(inventory).slots) if free is None else free
    assignment = assign(request, slots, inventory)
    assert isinstance(assignment, Assignment), assignment
    return assignment


# Reading


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        ("cpu", DeviceRequest("cpu")),
        (" CPU ", DeviceRequest("cpu")),
        ("cpu:0-1", DeviceRequest("cpu", cores=(0, 1))),
        ("cpu:0,2,4-5", DeviceRequest("cpu", cores=(0, 2, 4, 5))),
        ("cpu:1, 4-5", DeviceRequest("cpu", cores=(1, 4, 5))),
        ("cpu:3,3,3", DeviceRequest("cpu", cores=(3,))),
        ("cpu*2", DeviceRequest("cpu", count=2)),
        ("gpu", DeviceRequest("gpu", count=1)),
        ("gpu*1", DeviceRequest("gpu", count=1)),
        ("gpu*2", DeviceRequest("gpu", count=2)),
        ("gpu:0", DeviceRequest("gpu", gpus=("0",))),
        ("gpu:007", DeviceRequest("gpu", gpus=("7",))),
        ("gpu:1,0", DeviceRequest("gpu", gpus=("1", "0"))),
        ("gpu:1:2", DeviceRequest("gpu", gpus=("1:2",))),
        ("gpu:GPU-8d3e6f7a-b5c9", DeviceRequest("gpu", gpus=("GPU-8d3e6f7a-b5c9",))),
        ("gpu:MIG-GPU-8d3e6f7a/1/0", DeviceRequest("gpu", gpus=("MIG-GPU-8d3e6f7a/1/0",))),
        ("tpu", DeviceRequest("tpu")),
    ],
)
def test_what_can_be_asked_for(text: str, request_: DeviceRequest) -> None:
    assert parse_request(text) == request_


@pytest.mark.parametrize(
    "text",
    [
        "",
        "cup",
        "cpu:",
        "cpu:a",
        "cpu:1-",
        "cpu:-1",
        "cpu:3-1",
        "cpu:1,,2",
        "cpu:0-99999999999999999999",
        "cpu:\u0663",
        "cpu*",
        "cpu*0",
        "cpu*-1",
        "cpu*two",
        "cpu*1.5",
        "cpu*\u00b2",
        "cpu 2",
        "gpu:",
        "gpu:a",
        "gpu:0:",
        "gpu:0,",
        "gpu:../../etc/passwd",
        "gpu:; rm -rf ~",
        "gpu:\n",
        "tpu:0",
        "tpu*2",
        "cuda:0",
        "cpu:0*2",
    ],
)
def test_what_cannot(text: str) -> None:
    with pytest.raises(RequestError) as error:
        parse_request(text)
    assert str(error.value)
    assert "Traceback" not in str(error.value)


uuids = st.from_regex(r"(GPU|MIG)-[0-9a-f]{8}(-[0-9a-f]{4}){0,3}", fullmatch=True)
names = st.one_of(
    st.integers(0, 63).map(str),
    st.tuples(st.integers(0, 63), st.integers(0, 6)).map(lambda pair: f"{pair[0]}:{pair[1]}"),
    uuids,
)
requests = st.one_of(
    st.just(DeviceRequest("cpu")),
    st.just(DeviceRequest("tpu")),
    st.sets(st.integers(0, 300), min_size=1).map(lambda c: DeviceRequest("cpu", tuple(sorted(c)))),
    st.integers(1, 300).map(lambda n: DeviceRequest("cpu", count=n)),
    st.integers(1, 16).map(lambda n: DeviceRequest("gpu", count=n)),
    st.lists(names, min_size=1, max_size=4, unique=True).map(
        lambda inventory: DeviceRequest("gpu", gpus=tuple(inventory))
    ),
)


@given(requests)
def test_reading_what_was_written_gives_it_back(request_: DeviceRequest) -> None:
    assert parse_request(str(request_)) == request_


@given(st.text(max_size=40) | st.from_regex(r"(cpu|gpu|tpu)[:*][0-9,:*-]{0,12}", fullmatch=True))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        request_ = parse_request(text)
    except RequestError:
        return
    assert parse_request(str(request_)) == request_


# Handing out


def test_plain_cpu_is_shared() -> None:
    inventory = machine()
    assert parse_request("cpu").candidates(inventory).count == 0
    given_ = assign(parse_request("cpu"), set(), inventory)
    assert given_ == Assignment("cpu", "cpu", None, (), ())


def test_named_cores() -> None:
    assert granted("cpu:4,1-2", machine()) == Assignment(
        "cpu:1-2,4", "cpu", (1, 2, 4), (), ("cpu-1", "cpu-2", "cpu-4")
    )


def test_the_lowest_free_cores_are_picked() -> None:
    assert granted("cpu*2", machine(), {"cpu-1", "cpu-3", "cpu-7"}).label == "cpu:1,3"


def test_physical_cores_come_before_their_hyperthreads() -> None:
    inventory = machine(8, hyperthreads=True)  # 0 and 4 share a core, 1 and 5, ...
    assert granted("cpu*4", inventory).cores == (0, 1, 2, 3)
    assert granted("cpu*5", inventory).cores == (0, 1, 2, 3, 4)
    assert granted("cpu*2", inventory, {"cpu-3", "cpu-4", "cpu-5"}).cores == (3, 4)


@pytest.mark.parametrize(
    ("on", "free", "reason"),
    [
        ("cpu:0-2", {"cpu-1"}, "cores 0,2 are in use"),
        ("cpu:0-2", {"cpu-1", "cpu-2"}, "core 0 is in use"),
        ("cpu*3", {"cpu-1", "cpu-2"}, "2 of the 3 cores it needs are free"),
        ("cpu*1", set(), "cores 0-7 are in use"),
        ("gpu:0", set(), "gpu:0 is in use"),
        ("gpu", set(), "gpu:0, gpu:1 are in use"),
        ("gpu*2", {"gpu-GPU-00000000"}, "1 of the 2 GPUs it needs is free"),
    ],
)
def test_why_one_waits(on: str, free: set[str], reason: str) -> None:
    assert assign(parse_request(on), free, machine(8, (gpu(0), gpu(1)))) == Wait(reason)


@pytest.mark.parametrize(
    ("on", "said"),
    [
        ("cpu:7-9", "no core 8-9 to use; this process may use 0-7 of 8 cores"),
        ("cpu*9", "this process may use only 8 cores (0-7)"),
        ("gpu:3", "gpu:3 does not exist: this machine has gpu:0 (FAKE H200), gpu:1 (FAKE H200"),
        ("gpu:GPU-ffff", "gpu:GPU-ffff does not exist"),
        ("gpu:GPU-0000", "gpu:GPU-0000 could be any of"),
        ("gpu*2", "only one MIG slice"),
        ("gpu:1:0,1:2", "or one MIG slice"),
        ("gpu:0,1:2", "or one MIG slice"),
        ("gpu:1:1", "gpu:1:1 does not exist"),
        ("tpu", "this machine has no TPU (TPU: none (looked for"),
    ],
)
def test_what_this_machine_will_never_have(on: str, said: str) -> None:
    gpus = (*SPLIT, gpu(2, "GPU-00000009")) if on == "gpu:GPU-0000" else SPLIT
    inventory = machine(8, gpus, notes=("TPU: none (looked for /dev/accel*)",))
    with pytest.raises(HardwareMissing) as error:
        parse_request(on).candidates(inventory)
    assert said in str(error.value)


def test_no_gpu_says_what_was_looked_for() -> None:
    notes = ("NVIDIA: no driver (looked for libnvidia-ml.so.1)", "TPU: none")
    with pytest.raises(HardwareMissing) as error:
        parse_request("gpu:3").candidates(machine(notes=notes))
    assert str(error.value) == (
        "gpu:3: this machine has no GPU (NVIDIA: no driver (looked for libnvidia-ml.so.1))"
    )


def test_a_gpu_in_mig_mode_stands_for_any_of_its_slices() -> None:
    inventory = machine(gpus=SPLIT)
    assert granted("gpu:1", inventory).label == "gpu:1:0"
    assert granted("gpu:1", inventory, {"gpu-MIG-cccc"}).gpus == ("MIG-cccc",)
    assert granted("gpu:GPU-00000001", inventory).label == "gpu:1:0"
    assert granted("gpu:mig-cc", inventory).label == "gpu:1:2"


def test_a_gpu_in_mig_mode_without_slices_cannot_be_used() -> None:
    inventory = machine(gpus=(gpu(0, split=True),))
    with pytest.raises(HardwareMissing, match="no slices"):
        parse_request("gpu:0").candidates(inventory)
    with pytest.raises(HardwareMissing, match="split into MIG slices"):
        parse_request("gpu").candidates(inventory)


def test_a_gpu_that_somebody_uses_is_picked_last() -> None:
    inventory = machine(gpus=(gpu(0, used=30 * GIB), gpu(1, used=100 << 20), gpu(2)))
    assert granted("gpu", inventory).label == "gpu:1"
    assert granted("gpu*2", inventory).label == "gpu:1,2"
    assert granted("gpu*3", inventory).label == "gpu:0,1,2"


def test_gpus_of_two_makers_are_not_mixed() -> None:
    inventory = machine(gpus=(gpu(0), gpu(1, vendor="amd"), gpu(2, vendor="amd")))
    assert granted("gpu*2", inventory).label == "gpu:1,2"
    with pytest.raises(HardwareMissing, match="one maker"):
        parse_request("gpu:0,1").candidates(inventory)


def test_a_slot_is_a_file_name() -> None:
    assert gpu(0, "MIG-GPU-8d3e/1/0").slot == "gpu-MIG-GPU-8d3e_1_0"


def test_a_tpu_is_taken_whole() -> None:
    chips = tuple(Accelerator("tpu", "google", n, str(n), "FAKE TPU") for n in range(4))
    inventory = machine(gpus=chips)
    given_ = granted("tpu", inventory)
    assert given_.slots == ("tpu-0", "tpu-1", "tpu-2", "tpu-3")
    assert environment(given_, inventory)["TRAINDECK_DEVICE"] == "tpu"
    assert assign(parse_request("tpu"), {"tpu-0"}, inventory) == Wait("the TPU is in use")


machines = st.builds(
    machine,
    st.integers(1, 12).map(lambda n: 2 * n),
    st.sampled_from([(), (gpu(0),), (gpu(0), gpu(1), gpu(2)), SPLIT]),
    hyperthreads=st.booleans(),
)


@given(machines, st.lists(requests, max_size=12))
def test_nothing_is_handed_out_twice_nor_more_than_asked_for(
    inventory: Inventory, asked: list[DeviceRequest]
) -> None:
    every = {f"cpu-{core}" for core in inventory.cpu.usable_cores} | {
        g.slot for g in inventory.gpus
    }
    free = set(every)
    held: set[str] = set()
    for request_ in asked:
        try:
            wanted = request_.candidates(inventory)
        except HardwareMissing:
            continue
        before = set(free)
        given_ = assign(request_, frozenset(free), inventory)
        assert free == before
        if isinstance(given_, Wait):
            assert len(free & set(wanted.slots)) < wanted.count
            continue
        slots = set(given_.slots)
        assert len(slots) == len(given_.slots) == wanted.count
        assert slots <= free
        assert slots <= set(wanted.slots)
        assert not slots & held
        assert parse_request(given_.label).kind == request_.kind
        free -= slots
        held |= slots
    assert held | free == every


# The environment


def test_threads_of_a_pinned_run() -> None:
    inventory = machine()
    variables = environment(granted("cpu:0-2", inventory), inventory)
    assert variables == {
        "TRAINDECK_DEVICE": "cpu",
        "OMP_NUM_THREADS": "3",
        "MKL_NUM_THREADS": "3",
        "OPENBLAS_NUM_THREADS": "3",
        "TF_NUM_INTRAOP_THREADS": "3",
        "TF_NUM_INTEROP_THREADS": "3",
        "CUDA_VISIBLE_DEVICES": "-1",
        "HIP_VISIBLE_DEVICES": "-1",
    }


@pytest.mark.parametrize(
    ("quota", "threads"), [(None, "8"), (1.5, "2"), (0.1, "1"), (4.0, "4"), (99.0, "8")]
)
def test_a_shared_run_starts_no_more_threads_than_the_quota_feeds(
    quota: float | None, threads: str
) -> None:
    inventory = machine(quota=quota)
    assert environment(granted("cpu", inventory), inventory)["OMP_NUM_THREADS"] == threads


def test_several_gpus_are_named_by_uuid() -> None:
    inventory = machine(gpus=(gpu(0), gpu(1)))
    variables = environment(granted("gpu:0,1", inventory), inventory)
    assert variables["CUDA_VISIBLE_DEVICES"] == "GPU-00000000,GPU-00000001"
    assert variables["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"
    assert variables["OMP_NUM_THREADS"] == "8"


def test_amd_gpus_without_a_uuid_are_named_by_number() -> None:
    inventory = machine(gpus=(gpu(0), gpu(1, "amd-0", vendor="amd"), gpu(2, "amd-1", vendor="amd")))
    variables = environment(granted("gpu:2", inventory), inventory)
    assert variables["ROCR_VISIBLE_DEVICES"] == "1"
    assert variables["HIP_VISIBLE_DEVICES"] == "0"


def test_a_gpu_that_is_gone() -> None:
    given_ = granted("gpu:1", machine(gpus=(gpu(0), gpu(1))))
    with pytest.raises(HardwareMissing, match="gpu:1 is gone"):
        environment(given_, machine(gpus=(gpu(0),)))
