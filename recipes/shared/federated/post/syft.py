"""The one place that knows syft's insides: a party's real syft client over a folder, offline.

syft 0.10 talks to Google Drive and cannot log in without it, so the client is composed here of
the configurations that syft's own `login` would make, with encryption on, over `FolderStore`.
`tests/federated/test_syft_adapter.py` names what has changed when a new syft breaks this.

What differs from syft's own ways, and why:
- a job's run.sh is never run, and one that differs from what syft writes is reported: approval in
  syft looks at code/ alone, so that a swapped run.sh beside an approved script would run;
- an owner checkpoints nothing, which in 0.10 fails on outputs that are not text;
- keys are written for their owner alone: syft leaves them readable for all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

os.environ["PRE_SYNC"] = "false"  # else each look at jobs or peers synchronises, unasked

import syft_crypto_python as syc
from syft.sync.connections.base_connection import ConnectionConfig
from syft.sync.connections.drive.gdrive_transport import GDriveConnection
from syft.sync.connections.drive.mock_drive_service import MockDriveService
from syft.sync.peers.peer_store import datasite_crypto_keys_path
from syft.sync.syftbox_manager import SyftboxManagerConfig, default_collections_folder
from syft.sync.sync.caches.datasite_owner_cache import DataSiteOwnerEventCacheConfig
from syft.sync.sync.caches.datasite_watcher_cache import DataSiteWatcherCacheConfig
from syft.sync.sync.datasite_owner_syncer import DatasiteOwnerSyncerConfig
from syft.sync.sync.datasite_watcher_syncer import DatasiteWatcherSyncerConfig
from syft.sync.version.peer_manager import PeerManagerConfig
from syft_datasets.dataset_manager import DATASET_COLLECTION_PREFIX
from syft_job.job_runner import SyftJobRunner
from syft_rds import SyftRDSClient, SyftRDSClientConfig
from syft_rds.config import DATASET_COLLECTION_SPECS

from traindeck.core.federation.inbox import PARAMS, SCRIPT
from traindeck.recipes.shared.federated.post.drive import FolderStore, Written


class Unsealed(ValueError):
    """What came is not sealed by who is said to have sent it, or was changed on the way."""


@dataclass(frozen=True)
class SyftRequest:
    """A job that asks an owner: code is the folder with the script and its parameters."""

    name: str
    asked_by: str
    code: Path
    run_script: str
    files: tuple[str, ...]
    _job: Any

    @property
    def script(self) -> bytes:
        return (self.code / SCRIPT).read_bytes()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.script).hexdigest()

    @property
    def params_sha256(self) -> str:
        return hashlib.sha256((self.code / PARAMS).read_bytes()).hexdigest()


class _FolderConnection(GDriveConnection):
    @classmethod
    def from_config(cls, config: _FolderConfig) -> Any:
        store = FolderStore(config.drive, config.written)
        return GDriveConnection.from_service(config.email, MockDriveService(store, config.email))


class _FolderConfig(ConnectionConfig):
    connection_type: ClassVar[type] = _FolderConnection
    email: str
    drive: Path
    written: Written | None = None


class _Runner(SyftJobRunner):
    """Runs an approved job by a function of ours; syft keeps its states and its results."""

    run: Callable[[Any], int]

    def _execute_job_captured(self, ref: Any, timeout: int) -> int:
        for log in ("stdout.txt", "stderr.txt"):
            (self.manager.review_dir(ref) / log).touch()
        return self.run(ref)


class Site:
    """One party's syft: its peers, data sets and jobs, and the sealing of what it sends.

    home     the party's folder, 0700; its keys and private data stay in it
    drive    the folder that all parties share
    owner    whether it holds data and runs jobs, or asks for them
    encrypt  False only to show what could then be read
    written  told of every object that this party puts on the drive
    """

    def __init__(
        self,
        email: str,
        home: Path,
        drive: Path,
        *,
        owner: bool,
        encrypt: bool = True,
        written: Written | None = None,
    ) -> None:
        self.email = email
        self.home = home
        self._encrypt = encrypt
        self._client = _client(email, home, drive, owner, encrypt, written)
        self._client.sync_engine.peer_manager.write_own_version()
        if encrypt:
            keys = datasite_crypto_keys_path(home, email)
            keys.chmod(0o600)

    # Peers

    def ask(self, email: str) -> None:
        """Ask another party to be a peer."""
        self._client.add_peer(email, sync=False)

    def asked_by(self) -> list[str]:
        """Who asks to be a peer of ours and has no answer yet."""
        self._client.load_peers()
        return [peer.email for peer in self._client.peer_manager.requested_by_peer_peers]

    def accept(self, email: str) -> None:
        self._client.approve_peer_request(email)

    def turn_away(self, email: str) -> None:
        self._client.reject_peer_request(email)

    def not_ready(self, emails: list[str]) -> list[str]:
        """Which of these have not accepted yet, or not published their keys and version."""
        self._client.load_peers()
        ready = {
            peer.email
            for peer in self._client.peer_manager.syncable_peers
            if peer.state.value == "accepted"
            and peer.version is not None
            and (peer.public_encryption_bundle is not None or not self._encrypt)
        }
        sources = self._client.job_client.peer_install_sources
        return [email for email in emails if email not in ready or email not in sources]

    def fingerprint(self, email: str | None = None) -> str:
        """SHA-256 of a party's public keys as we hold them; of our own without a name.

        Empty as long as a peer's are not known, or without encryption.
        """
        if not self._encrypt:
            return ""
        if email is None:
            bundle = self._store.get_public_bundle()
        else:
            peer = self._store.get_cached_peer(email)
            bundle = peer.public_encryption_bundle if peer else None
            if bundle is None:  # of one who asks to be a peer
                bundle = self._client.peer_manager._read_peer_encryption_bundle(email)
        if bundle is None:
            return ""
        return hashlib.sha256(json.dumps(bundle, sort_keys=True).encode()).hexdigest()

    # Data sets

    def offer(self, name: str, mock: Path, private: Path, summary: str, users: list[str]) -> Path:
        """Describe a data set and publish its mock. Gives the path of the private file at home."""
        self._client.create_dataset(name, mock, private, summary=summary, users=users, sync=False)
        self.sync()
        dataset = self._client.datasets.get(name=name, datasite=self.email)
        private_file: Path = dataset.private_files[0]
        return private_file

    def datasets(self) -> set[str]:
        """Owners whose data sets are in sight."""
        return {dataset.owner for dataset in self._client.datasets.get_all()}

    # Jobs

    def submit(self, email: str, code: Path, name: str) -> None:
        """Ask an owner to run the script in a folder. Raises ValueError for who is no peer."""
        if email not in {p.email for p in self._client.peer_manager.syncable_peers}:
            raise ValueError(f"{email} is no peer: jobs go to peers only")
        folder = self._client.job_client.submit_python_job(
            email, str(code), job_name=name, entrypoint=SCRIPT
        )
        self._client.sync_engine.push_job_files(folder)

    def requests(self) -> list[SyftRequest]:
        """Jobs that wait for this owner's answer."""
        return [
            SyftRequest(
                job.name,
                job.submitted_by,
                job.code_dir,
                job.run_script,
                tuple(sorted(str(f.relative_to(job.code_dir)) for f in _files(job.code_dir))),
                job,
            )
            for job in self._client.job_client.jobs
            if job.status == "pending" and job.datasite_owner_email == self.email
        ]

    def run_script(self) -> str:
        """What syft writes into run.sh for a job of ours: one that differs was tampered with."""
        client = self._client.job_client
        own = self._client.sync_engine.peer_manager.get_own_version().syft_client_install_source
        script: str = client._generate_python_run_script(SCRIPT, [], False, own)
        return script

    def approve(self, request: SyftRequest, how: str, reason: str = "") -> None:
        request._job.approve(reason=reason or None, approval_method=how)

    def refuse(self, request: SyftRequest, reason: str) -> None:
        request._job.reject(reason)

    def run_approved(self, request: SyftRequest, run: Callable[[], int]) -> None:
        """Run an approved job by `run`, which gives its exit code; outputs/ goes to who asked."""
        runner = self._client.job_runner
        runner.run = lambda ref: run() if ref.job_name == request.name else 1
        runner.process_approved_jobs(stream_output=False, share_outputs_with_submitter=True)

    def answers(self, name: str) -> dict[str, tuple[str, str]]:
        """Of a job that was submitted: state and reason, by owner's address."""
        return {
            job.datasite_owner_email: (str(job.status), job.review_reason or "")
            for job in self._client.job_client.jobs
            if job.name == name
        }

    def outputs(self, name: str) -> dict[str, Path]:
        """Of a job that is done: the folder of its results, by owner's address."""
        return {
            job.datasite_owner_email: job.job_review_path / "outputs"
            for job in self._client.job_client.jobs
            if job.name == name and job.status == "done"
        }

    def sync(self) -> None:
        """Exchange what is new with the drive."""
        self._client.sync(auto_checkpoint=False, auto_compact=False)

    # Sealing

    def seal(self, to: str, data: bytes) -> bytes:
        """Encrypted for one peer and signed, as syft seals all that it sends."""
        sealed: bytes = self._store.encrypt(to, data) if self._encrypt else data
        return sealed

    def unseal(self, sender: str, data: bytes) -> bytes:
        """What a peer has sealed for us. Raises Unsealed when it was not, or was changed."""
        if not self._encrypt:
            return data
        try:
            self._store.verify_message(sender, data)
            opened: bytes = self._store.decrypt(sender, data)
        except Exception as error:  # the extension raises what it likes
            raise Unsealed(f"{sender}: {error}") from None
        return opened

    def can_seal(self, to: str) -> bool:
        """Whether a peer's keys are known by now."""
        return not self._encrypt or self._store.has_peer_bundle(to)

    @property
    def _store(self) -> Any:
        return self._client.sync_engine.peer_manager.peer_store


def sealed(data: bytes) -> bool:
    """Whether these bytes are an envelope of syft's."""
    try:
        syc.parse_envelope(data)
    except Exception:
        return False
    return True


def is_mock(place: str) -> bool:
    """Whether an object of the drive is of a data set's public part, its description aside."""
    folder, _, name = place.rpartition("/")
    return folder.startswith(DATASET_COLLECTION_PREFIX) and name != "dataset.yaml"


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file())


def _client(
    email: str, home: Path, drive: Path, owner: bool, encrypt: bool, written: Written | None
) -> Any:
    specs = DATASET_COLLECTION_SPECS
    connections = [_FolderConfig(email=email, drive=drive, written=written)]
    collections = default_collections_folder(home, email, specs)
    own = {"email": email, "syftbox_folder": home, "connection_configs": connections}
    roles = {"has_do_role": owner, "has_ds_role": not owner}
    config = SyftboxManagerConfig(
        email=email,
        syftbox_folder=home,
        write_files=True,
        use_in_memory_cache=False,
        **roles,
        datasite_owner_syncer_config=DatasiteOwnerSyncerConfig(
            **own,
            collections_folder=collections,
            collection_specs=specs,
            cache_config=DataSiteOwnerEventCacheConfig(
                email=email,
                use_in_memory_cache=False,
                syftbox_folder=home,
                collections_folder=collections,
            ),
        ),
        datasite_watcher_syncer_config=DatasiteWatcherSyncerConfig(
            **own,
            datasite_watcher_cache_config=DataSiteWatcherCacheConfig(
                **own, use_in_memory_cache=False, collection_specs=specs
            ),
        ),
        peer_manager_config=PeerManagerConfig(**own, **roles, use_encryption=encrypt),
    )
    with contextlib.redirect_stdout(None):
        client = SyftRDSClient.from_config(SyftRDSClientConfig._compose(config))
        if owner:
            client.job_runner = _Runner(client.job_runner.config)
    return client
