"""Provenance: a wheel's record as an in-toto statement (v1) with SLSA provenance (v1), which other tools can read.

Equal records give equal bytes.

A source is named by the digest `pibuildTree`, in lowercase hex: the sha256 over the lines `<mode> <sha256> <path>` of
its files, sorted by path, as trees.tree writes them; `python -m pibuild.trees.tree` prints it. An image is named by
the sha256 of its configuration, which is its id in Docker.

Source: in-toto/attestation, spec/v1; slsa.dev/spec/v1.1/provenance.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from pibuild.files import json_text
from pibuild.signing.envelope import IN_TOTO, sealed
from pibuild.times import iso_z

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/provenance/v1"
BUILD_TYPE = "pibuild:wheel/v1"
"""A wheel of one recipe for one target and Python, built from pinned source trees in containers without a network, as
`pibuild --recipe … --release … --target … --python …` does. Without a target it is a wheel in pure Python, a dependency
that `--with-dependencies` adds."""
BUILDER = "pibuild:builder/v1"
"""pibuild on a machine of the set's signer; it is not a hosted service."""


def provenance(record: bytes) -> bytes:
    """Return the statement about a wheel, from the bytes of the record that is published beside it."""
    facts = json.loads(record)
    plan, wheel, ended = facts["plan"], facts["wheel"], datetime.fromisoformat(facts["made"])
    started = {"startedOn": iso_z(ended - timedelta(seconds=facts["wall_s"]))} if "wall_s" in facts else {}
    dependencies = {json.dumps(dependency, sort_keys=True): dependency for dependency in _dependencies(facts)}
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [descriptor(wheel["file"], wheel["sha256"])],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {name: plan[name] for name in ("target", "python", "recipe", "version")},
                "internalParameters": {"key": plan["key"]},
                "resolvedDependencies": [dependencies[text] for text in sorted(dependencies)],
            },
            "runDetails": {
                "builder": {"id": BUILDER, "version": {"pibuild": facts["pibuild"]}},
                "metadata": {**started, "finishedOn": iso_z(ended)},
                "byproducts": [
                    descriptor(f"{wheel['file']}.record.json", hashlib.sha256(record).hexdigest()),
                    *(descriptor(extra["file"], extra["sha256"]) for extra in facts.get("extras", ())),
                ],
            },
        },
    }
    return json_text(statement).encode()


def signed_provenance(statement: bytes, key: Ed25519PrivateKey) -> bytes:
    """Return a statement in an envelope (DSSE) on one line, as tools of in-toto and SLSA read it (`.intoto.jsonl`)."""
    return (json.dumps(sealed(statement, IN_TOTO, key), sort_keys=True) + "\n").encode()


def _dependencies(facts: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for artifact in facts["artifacts"]:
        for source in artifact["sources"]:
            digest, annotations = {"pibuildTree": source["tree"]}, {"place": source["place"]}
            yield {"name": source["name"], "digest": digest, "annotations": annotations}
    for image in (*(artifact["image"] for artifact in facts["artifacts"]), facts["device"]):
        digest, annotations = {"sha256": image["id"].removeprefix("sha256:")}, {"base": image["base"]}
        yield {"name": image["reference"], "digest": digest, "annotations": annotations}


def descriptor(name: str, sha256: str) -> dict[str, Any]:
    """Return the resource descriptor of a file."""
    return {"name": name, "digest": {"sha256": sha256}}
