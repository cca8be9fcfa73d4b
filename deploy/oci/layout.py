#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes an OCI image archive of one layer: the root file system that image.sh made.

Follows the OCI Image Format Specification 1.0: a layout with one index, one manifest, one configuration.
"""

import argparse
import gzip
import hashlib
import json
import pathlib
import tarfile
import tempfile


class Layout:
    """The files of an image layout; blobs are named by what they hold."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        (folder / "blobs/sha256").mkdir(parents=True)
        self.add_file("oci-layout", {"imageLayoutVersion": "1.0.0"})

    def add_file(self, name: str, content: dict) -> None:
        (self.folder / name).write_text(json.dumps(content))

    def add_blob(self, media_type: str, path: pathlib.Path) -> dict:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        path.rename(self.folder / "blobs/sha256" / digest)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}

    def add_json(self, media_type: str, content: dict) -> dict:
        path = self.folder / "blob"
        path.write_text(json.dumps(content))
        return self.add_blob(media_type, path)


def compress(source: pathlib.Path, target: pathlib.Path) -> str:
    """Without a time in it, so that the same files give the same image. Returns the digest of what was compressed."""
    digest = hashlib.sha256()
    with source.open("rb") as plain, target.open("wb") as raw:
        with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0, compresslevel=6) as packed:
            while block := plain.read(1 << 20):
                digest.update(block)
                packed.write(block)
    return digest.hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=pathlib.Path, help="tar file of the root file system")
    parser.add_argument("image", type=pathlib.Path, help="archive to write")
    parser.add_argument("--architecture", required=True)
    parser.add_argument("--version", required=True)
    args = parser.parse_args()

    with tempfile.TemporaryDirectory(dir=args.root.parent) as name:
        layout = Layout(pathlib.Path(name) / "layout")
        packed = pathlib.Path(name) / "layer.tar.gz"
        diff_id = compress(args.root, packed)
        layer = layout.add_blob("application/vnd.oci.image.layer.v1.tar+gzip", packed)
        config = layout.add_json(
            "application/vnd.oci.image.config.v1+json",
            {
                "architecture": args.architecture,
                "os": "linux",
                "config": {
                    "User": "65532:65532",
                    "WorkingDir": "/",
                    "Entrypoint": ["duly"],
                    "Cmd": ["serve"],
                    "Env": ["PATH=/usr/bin:/bin", "DULY_MODEL_REPOSITORY=/models"],
                    "ExposedPorts": {"8000/tcp": {}, "8001/tcp": {}, "8002/tcp": {}},
                    "StopSignal": "SIGTERM",
                    "Labels": {"org.opencontainers.image.title": "duly", "org.opencontainers.image.version": args.version},
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{diff_id}"]},
            },
        )
        manifest_type = "application/vnd.oci.image.manifest.v1+json"
        manifest = layout.add_json(
            manifest_type, {"schemaVersion": 2, "mediaType": manifest_type, "config": config, "layers": [layer]}
        )
        manifest["platform"] = {"architecture": args.architecture, "os": "linux"}
        manifest["annotations"] = {"org.opencontainers.image.ref.name": f"duly:{args.version}"}
        layout.add_file("index.json", {"schemaVersion": 2, "manifests": [manifest]})
        with tarfile.open(args.image, "w") as archive:
            for path in sorted(layout.folder.rglob("*")):
                if path.is_file():
                    archive.add(path, path.relative_to(layout.folder))


if __name__ == "__main__":
    main()
