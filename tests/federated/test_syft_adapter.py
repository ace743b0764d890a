"""A canary for a new syft: each of its insides that the adapter stands on, by name, and at work.

When a version of syft breaks the adapter, a test here says which name, argument or habit changed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import stat
import tomllib
import warnings
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.federated.federated_tools import as_before, propose
from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.recipes.shared.federated.post.drive import FolderStore
from traindeck.recipes.shared.federated.post.mail import address
from traindeck.recipes.shared.federated.post.syft import Site, Unsealed, is_mock, sealed

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
ROOT = Path(__file__).resolve().parents[2]
DRIVE = "syft.sync.connections.drive"
FUNCTIONS = {
    "syft_crypto_python:parse_envelope": (),
    f"{DRIVE}.gdrive_transport:GDriveConnection.from_service": ("email", "mock_service"),
    f"{DRIVE}.mock_drive_service:MockDriveService": ("backing_store", "current_user"),
    "syft.sync.peers.peer_store:datasite_crypto_keys_path": ("syftbox_folder", "email"),
    "syft.sync.peers.peer_store:PeerStore.encrypt": ("recipient_email", "plaintext"),
    "syft.sync.peers.peer_store:PeerStore.decrypt": ("sender_email", "envelope"),
    "syft.sync.peers.peer_store:PeerStore.verify_message": ("sender_email", "envelope"),
    "syft.sync.peers.peer_store:PeerStore.has_peer_bundle": ("peer_email",),
    "syft.sync.peers.peer_store:PeerStore.get_cached_peer": ("email",),
    "syft.sync.peers.peer_store:PeerStore.get_public_bundle": (),
    "syft.sync.syftbox_manager:default_collections_folder": (),
    "syft.sync.syftbox_manager:SyftboxManager.sync": ("auto_checkpoint", "auto_compact"),
    "syft.sync.syftbox_manager:SyftboxManager.add_peer": ("sync",),
    "syft.sync.syftbox_manager:SyftboxManager.load_peers": (),
    "syft.sync.syftbox_manager:SyftboxManager.approve_peer_request": (),
    "syft.sync.syftbox_manager:SyftboxManager.reject_peer_request": (),
    "syft.sync.syftbox_manager:SyftboxManager.push_job_files": (),
    "syft.sync.version.peer_manager:PeerManager.write_own_version": (),
    "syft.sync.version.peer_manager:PeerManager.get_own_version": (),
    "syft.sync.version.peer_manager:PeerManager._read_peer_encryption_bundle": (),
    "syft.sync.version.peer_manager:PeerManager.syncable_peers": (),
    "syft.sync.version.peer_manager:PeerManager.requested_by_peer_peers": (),
    "syft_job.client:JobClient.jobs": (),
    "syft_job.client:JobClient.submit_python_job": ("job_name", "entrypoint"),
    "syft_job.client:JobClient._generate_python_run_script": (
        *("entrypoint_path", "dependencies", "has_pyproject", "install_source"),
    ),
    "syft_job.job:JobInfo.approve": ("reason", "approval_method"),
    "syft_job.job:JobInfo.reject": ("reason",),
    "syft_job.job_runner:SyftJobRunner._execute_job_captured": ("ref", "timeout"),
    "syft_job.job_runner:SyftJobRunner.process_approved_jobs": (
        *("stream_output", "share_outputs_with_submitter"),
    ),
    "syft_job.job_storage:JobStorage.review_dir": (),
    "syft_rds:SyftRDSClient.from_config": (),
    "syft_rds:SyftRDSClient.create_dataset": (
        *("name", "mock_path", "private_path", "summary", "users", "sync"),
    ),
    "syft_rds:SyftRDSClientConfig._compose": (),
}
"""Functions and properties, with the arguments that are given to them."""
FIELDS = {
    "syft.sync.connections.base_connection:ConnectionConfig": (),
    f"{DRIVE}.mock_drive_service:MockDriveFile": (
        *("id", "name", "parents", "owners", "content", "modifiedTime"),
    ),
    f"{DRIVE}.mock_drive_service:MockPermission": ("type", "role", "emailAddress"),
    "syft.sync.syftbox_manager:SyftboxManagerConfig": (
        *("email", "syftbox_folder", "write_files", "use_in_memory_cache"),
        *("has_do_role", "has_ds_role", "peer_manager_config"),
        *("datasite_owner_syncer_config", "datasite_watcher_syncer_config"),
    ),
    "syft.sync.sync.datasite_owner_syncer:DatasiteOwnerSyncerConfig": (
        *("collections_folder", "collection_specs", "cache_config"),
    ),
    "syft.sync.sync.caches.datasite_owner_cache:DataSiteOwnerEventCacheConfig": (
        *("email", "use_in_memory_cache", "syftbox_folder", "collections_folder"),
    ),
    "syft.sync.sync.datasite_watcher_syncer:DatasiteWatcherSyncerConfig": (
        "datasite_watcher_cache_config",
    ),
    "syft.sync.sync.caches.datasite_watcher_cache:DataSiteWatcherCacheConfig": (
        *("use_in_memory_cache", "collection_specs"),
    ),
    "syft.sync.version.peer_manager:PeerManagerConfig": (
        *("use_encryption", "has_do_role", "has_ds_role"),
    ),
    "syft.sync.peers.peer:Peer": (*("email", "state", "version", "public_encryption_bundle"),),
    "syft.sync.version.version_info:VersionInfo": ("syft_client_install_source",),
}
"""Fields of syft's models that are set or read."""


def looked_up(name: str) -> Any:
    module, _, path = name.partition(":")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            here = importlib.import_module(module)
        for part in path.split("."):
            here = inspect.getattr_static(here, part)
    except (ImportError, AttributeError) as error:
        pytest.fail(f"syft has moved {name}: {error}")
    return here


class TestNames:
    def test_syft_is_the_version_that_the_adapter_was_made_for(self) -> None:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        pins = [
            line.split("==") for line in project["optional-dependencies"]["syft"] if "==" in line
        ]
        pinned = {name: pin for name, pin in pins if name.startswith("syft")}
        assert len(pinned) >= 7
        assert {name: version(name) for name in pinned} == pinned

    @pytest.mark.parametrize("name", FUNCTIONS)
    def test_a_function_is_there_and_takes_what_it_is_given(self, name: str) -> None:
        function = looked_up(name)
        if isinstance(function, property):
            return
        function = getattr(function, "__func__", function)
        if FUNCTIONS[name]:
            parameters = inspect.signature(function).parameters
            missing = [given for given in FUNCTIONS[name] if given not in parameters]
            assert not missing, f"{name} takes {list(parameters)}: no {', '.join(missing)}"

    @pytest.mark.parametrize("name", FIELDS)
    def test_a_model_has_the_fields_that_are_used(self, name: str) -> None:
        model = looked_up(name)
        missing = [field for field in FIELDS[name] if field not in model.model_fields]
        assert not missing, f"{name} has {sorted(model.model_fields)}: no {', '.join(missing)}"

    def test_the_drive_asks_of_its_store_what_the_folder_has(self) -> None:
        module = importlib.import_module(f"{DRIVE}.mock_drive_service")
        asked = set(re.findall(r"_backing_store\.(\w+)", inspect.getsource(module)))
        assert {"get_file", "add_file", "files"} <= asked
        assert asked <= {*dir(FolderStore), "files"}, "syft asks a new thing of its store"
        asked = set(re.findall(r"_backing_store\.files\.(\w+)", inspect.getsource(module)))
        assert asked <= {"values"}, "of its files it asks another thing than their values"

    def test_constants_are_there(self) -> None:
        assert looked_up("syft_datasets.dataset_manager:DATASET_COLLECTION_PREFIX")
        assert looked_up("syft_rds.config:DATASET_COLLECTION_SPECS")
        assert os.environ["PRE_SYNC"] == "false"
        source = inspect.getsource(importlib.import_module("syft.sync.syftbox_manager"))
        assert "PRE_SYNC" in source, "what keeps syft from synchronising unasked has another name"


OWNER, SCIENTIST = address("owner-1"), address("scientist")
ROW = np.arange(1000, 1032, dtype=np.float32)


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """An owner and a data scientist that have become peers; the owner offers a data set."""
    root = tmp_path_factory.mktemp("sites")
    written: list[tuple[str, bytes]] = []
    with as_before():
        os.umask(0o022)
        made = {
            email: Site(
                email,
                root / email,
                root / "drive",
                owner=email == OWNER,
                written=lambda *what: written.append(what),
            )
            for email in (OWNER, SCIENTIST)
        }
        for name, row in (("private.npz", ROW), ("mock.npz", np.zeros(3))):
            np.savez(root / name, allow_pickle=False, x=row)
        made[OWNER].sync()
        private = made[OWNER].offer(
            "digits", root / "mock.npz", root / "private.npz", "some digits", [SCIENTIST]
        )
        assert private.read_bytes() == (root / "private.npz").read_bytes()
        assert private.is_relative_to(root / OWNER)
        made[SCIENTIST].ask(OWNER)
        assert made[SCIENTIST].not_ready([OWNER]) == [OWNER]
        assert made[OWNER].asked_by() == [SCIENTIST]
        assert made[OWNER].fingerprint(SCIENTIST) == made[SCIENTIST].fingerprint()
        made[OWNER].accept(SCIENTIST)
        assert made[OWNER].asked_by() == []
        assert made[SCIENTIST].not_ready([OWNER]) == []
        made[SCIENTIST].sync()
        made[OWNER].sync()
        yield made


def code(folder: Path, script: str = "print('hello')") -> Path:
    folder.mkdir()
    (folder / SCRIPT).write_text(script)
    (folder / PARAMS).write_text("{}")
    return folder


class TestAtWork:
    """What the adapter relies on that no name shows."""

    def test_the_data_set_is_in_sight_and_its_private_part_is_not(
        self, sites: dict[str, Site]
    ) -> None:
        assert sites[SCIENTIST].datasets() == {OWNER}
        for path in (*sites[SCIENTIST].home.rglob("*"), *_drive(sites).rglob("*")):
            if path.is_file():
                assert ROW.tobytes() not in path.read_bytes()

    def test_mock_data_is_told_from_all_else_that_is_put_on_the_drive(
        self, sites: dict[str, Site]
    ) -> None:
        store = FolderStore(_drive(sites))
        places = {store._place(file): file.content for file in store.values() if file.content}
        mocks = [place for place in places if is_mock(place)]
        assert [place.rpartition("/")[2] for place in mocks] == ["mock.npz"]
        assert not sealed(places[mocks[0]])
        assert not is_mock("any/dataset.yaml")

    def test_private_keys_are_their_owners_alone(self, sites: dict[str, Site]) -> None:
        for site in sites.values():
            [keys] = site.home.rglob("crypto_keys.json")
            assert stat.S_IMODE(keys.stat().st_mode) == 0o600
            secret = [key["d"] for key in json.loads(keys.read_text())["keys_jwk"].values()]
            assert len(secret) == 3
            for path in _drive(sites).rglob("*.object"):
                assert not [d for d in secret if d.encode() in path.read_bytes()]

    def test_what_is_sealed_is_opened_by_one_and_only_whole(self, sites: dict[str, Site]) -> None:
        data = b"an update" * 100
        envelope = sites[OWNER].seal(SCIENTIST, data)
        assert sealed(envelope) and data[:20] not in envelope
        assert sites[SCIENTIST].unseal(OWNER, envelope) == data
        assert sites[OWNER].seal(SCIENTIST, data) != envelope
        refused = 0
        for place in range(0, len(envelope), 13):
            changed = bytearray(envelope)
            changed[place] ^= 1
            try:  # syft leaves room in its envelopes that holds nothing
                assert sites[SCIENTIST].unseal(OWNER, bytes(changed)) == data
                assert envelope[place] == 0
            except Unsealed as error:
                assert OWNER in str(error)
                refused += 1
        assert refused > (len(envelope) - 3300) / 13
        with pytest.raises(Unsealed):
            sites[OWNER].unseal(SCIENTIST, envelope)
        with pytest.raises(Unsealed, match="stranger"):
            sites[SCIENTIST].unseal(address("stranger"), envelope)
        assert not sealed(data)
        assert sites[OWNER].can_seal(SCIENTIST)
        assert not sites[OWNER].can_seal(address("stranger"))

    def test_a_job_runs_by_our_hand_and_its_result_comes_back(
        self, sites: dict[str, Site], tmp_path: Path
    ) -> None:
        scientist, owner = sites[SCIENTIST], sites[OWNER]
        scientist.submit(OWNER, code(tmp_path / "code"), "runs")
        owner.sync()
        [request] = owner.requests()
        assert (request.name, request.asked_by) == ("runs", SCIENTIST)
        assert request.files == (SCRIPT, PARAMS)
        assert request.script == b"print('hello')"
        assert request.run_script == owner.run_script(), "syft writes another run.sh than we expect"
        assert scientist.answers("runs")[OWNER][0] == "received"
        owner.approve(request, "auto")
        ran = []

        def run() -> int:
            ran.append(request.name)
            (request.code / "outputs").mkdir(exist_ok=True)
            (request.code / "outputs" / "result.json").write_text('{"a": 1}')
            return 0

        owner.run_approved(request, run)
        owner.sync()
        assert ran == ["runs"] and owner.requests() == []
        scientist.sync()
        assert scientist.answers("runs") == {OWNER: ("done", "")}
        result = scientist.outputs("runs")[OWNER] / "result.json"
        assert result.read_text() == '{"a": 1}'
        owner.run_approved(request, run)
        assert ran == ["runs"], "a job that is done runs again"

    def test_a_job_that_fails_or_is_refused_says_so(
        self, sites: dict[str, Site], tmp_path: Path
    ) -> None:
        scientist, owner = sites[SCIENTIST], sites[OWNER]
        for name in ("fails", "refused"):
            scientist.submit(OWNER, code(tmp_path / name), name)
        owner.sync()
        for request in owner.requests():
            if request.name == "fails":
                owner.approve(request, "manual", "let us see")
                owner.run_approved(request, lambda: 3)
            else:
                owner.refuse(request, "it is Sunday")
        owner.sync()
        scientist.sync()
        assert scientist.answers("fails")[OWNER][0] == "failed"
        assert scientist.answers("refused")[OWNER] == ("rejected", "it is Sunday")
        assert scientist.outputs("fails") == {}

    def test_a_run_script_that_was_swapped_is_seen(
        self, sites: dict[str, Site], tmp_path: Path
    ) -> None:
        """syft itself approves by code/ alone: this is why run.sh is compared and never run."""
        scientist, owner = sites[SCIENTIST], sites[OWNER]
        job = scientist._client.job_client.submit_python_job(
            OWNER, str(code(tmp_path / "code")), job_name="swapped", entrypoint=SCRIPT
        )
        (Path(job) / "run.sh").write_text("#!/bin/sh\ntouch /tmp/owned\n")
        scientist._client.sync_engine.push_job_files(job)
        owner.sync()
        [request] = owner.requests()
        assert request.run_script != owner.run_script()
        owner.refuse(request, "swapped")
        owner.sync()

    def test_who_is_no_peer_gets_no_job(self, sites: dict[str, Site], tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="is no peer: jobs go to peers only"):
            sites[SCIENTIST].submit(address("owner-9"), code(tmp_path / "code"), "nowhere")

    @pytest.mark.parametrize(
        "path",
        [
            "private/crypto_keys.json",
            f"app_data/job/inbox/{SCIENTIST}/v1/../../../../../private/crypto_keys.json",
            f"app_data/job/inbox/{SCIENTIST}/v1/job/../../../../../../private/written",
            f"app_data/job/inbox/{SCIENTIST}/v1/../../../../../../../written",
            f"app_data/job/inbox/{SCIENTIST}/syft.pub.yaml",
            f"app_data/job/review/{SCIENTIST}/v1/job/state.yaml",
            f"app_data/job/inbox/{SCIENTIST}/v1/../../../review/{SCIENTIST}/v1/job/state.yaml",
            "public/syft_datasets/digits/mock.npz",
        ],
    )
    def test_a_peer_writes_nothing_but_its_own_jobs(
        self, path: str, sites: dict[str, Site]
    ) -> None:
        propose(sites[SCIENTIST], OWNER, path, "WRITTEN")
        sites[OWNER].sync()
        homes = [path for path in sites[OWNER].home.parent.rglob("*") if path.is_file()]
        written = [path for path in homes if b"WRITTEN" in path.read_bytes()]
        assert not written, "syft lets a peer write where it should not"

    def test_keys_last_as_long_as_the_home(self, sites: dict[str, Site]) -> None:
        before = sites[SCIENTIST].fingerprint()
        again = Site(SCIENTIST, sites[SCIENTIST].home, _drive(sites), owner=False)
        assert again.fingerprint() == before != sites[OWNER].fingerprint()
        assert again.not_ready([OWNER]) == []
        assert again.unseal(OWNER, sites[OWNER].seal(SCIENTIST, b"later")) == b"later"

    def test_without_encryption_nothing_is_hidden(self, tmp_path: Path) -> None:
        plain = Site(OWNER, tmp_path / "o", tmp_path / "drive", owner=True, encrypt=False)
        assert plain.seal(SCIENTIST, b"an update") == b"an update"
        assert plain.fingerprint() == "" and plain.can_seal(SCIENTIST)
        assert not list(tmp_path.rglob("crypto_keys.json"))


def _drive(sites: dict[str, Site]) -> Path:
    return sites[OWNER].home.parent / "drive"
