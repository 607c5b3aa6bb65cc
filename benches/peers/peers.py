#!/usr/bin/env python3
"""Runs a peer benchmark harness with our systems added to it: one run, the same loads, the same disk.

    HARNESS=/path/to/peers LUSTRE=target/release benches/peers/peers.py run --rounds 3 --out results.jsonl \\
        --systems lustre,lustre-lz4,lustre-s3,fuse-passthrough,moosefs-goal1

`HARNESS` is a folder with the harness's `peers.py`, `adapters/` and `harness/`; `LUSTRE` is the folder of our two
programs. All other arguments are the harness's.
"""

import os
import sys
from pathlib import Path

HARNESS = os.environ.get("HARNESS")
if not HARNESS or not (Path(HARNESS) / "peers.py").is_file():
    sys.exit("HARNESS must name the folder of the harness, with its peers.py")
PROGRAMS = Path(os.environ.get("LUSTRE", Path(__file__).resolve().parents[2] / "target/release")).resolve()
sys.path.insert(0, str(Path(HARNESS).resolve()))
os.environ["HARNESS"] = str(Path(HARNESS).resolve())
os.environ["LUSTRE"] = str(PROGRAMS)
os.environ["PATH"] = f"{PROGRAMS}:{os.environ['PATH']}"

import peers  # noqa: E402  (the path above must be set first)
from adapters.base import Adapter, S3Adapter  # noqa: E402
from harness.sandbox import unmount, wait_until  # noqa: E402

LINK = "bench"

CLUSTER = """
host "here" {{
  connection = "local"
  path       = "{root}/agent"
}}

cluster "bench" {{
  deployment_type       = "SCRATCH_2"
  data_compression_type = "{compression}"
  metadata {{
    host = host.here
    path = "{root}/mdt"
  }}
  storage {{
    hosts            = host.here
    path             = "{root}/ost"
    targets_per_host = 4
    target_capacity  = "16GiB"
  }}
}}

mount "here" {{
  cluster = cluster.bench
  host    = host.here
  path    = "{root}/mnt"
}}
"""

ASSOCIATION = """
data_repository_association "bench" {{
  cluster                          = cluster.bench
  file_system_path                 = "/{link}"
  data_repository_path             = "s3://{bucket}"
  batch_import_meta_data_on_create = true
  s3 {{
    endpoint_url     = "{endpoint}"
    credentials_file = "{root}/credentials"
    path_style       = true
  }}
}}
"""


class Cluster:
    """One agent, one metadata target, four object targets and a mount; a remount is the agent's."""

    programs = ("lustre", "lustre-agent")
    compression = "NONE"

    def spec(self) -> str:
        return CLUSTER.format(root=self.workdir, compression=self.compression)

    def _lustre(self, *arguments) -> None:
        self.sandbox.run("lustre", f"-chdir={self.workdir}", *arguments)

    def start_servers(self) -> None:
        (self.workdir / "main.hcl").write_text(self.spec())
        self._lustre("apply", "-auto-approve", "-no-color")

    def mount(self) -> None:
        wait_until(self.mountpoint.is_mount, 30, "lustre mount")

    def down(self) -> None:
        self._lustre("destroy", "-auto-approve", "-no-color", "-allow-data-loss=*")
        unmount(self.mountpoint)
        self.sandbox.cgroup.end_processes()


class Lustre(Cluster, Adapter):
    """Defaults."""

    name = "lustre"


class LustreLz4(Cluster, Adapter):
    """With LZ4."""

    name = "lustre-lz4"
    compression = "LZ4"


class LustreS3(Cluster, S3Adapter):
    """A directory linked to the harness's bucket; `up` ends when all names are imported."""

    name = "lustre-s3"

    def spec(self) -> str:
        keys = "[default]\naws_access_key_id = bench\naws_secret_access_key = benchbench\n"
        credentials = self.workdir / "credentials"
        credentials.write_text(keys)
        credentials.chmod(0o600)
        link = ASSOCIATION.format(root=self.workdir, link=LINK, bucket=self.bucket, endpoint=self.endpoint)
        return super().spec() + link

    def up(self, workdir: Path) -> Path:
        return super().up(workdir) / LINK


peers.POSIX_SYSTEMS += (Lustre, LustreLz4)
peers.S3_SYSTEMS += (LustreS3,)

if __name__ == "__main__":
    sys.exit(peers.main())
