"""Provenance statements, against the field names that in-toto and SLSA publish."""

import hashlib
import json

import pytest
from jsonschema import Draft202012Validator, ValidationError

from pibuild.publishing.provenance import provenance
from tests.makers.sites import make_record
from tests.makers.wheels import make_wheel

STRING, OBJECT = {"type": "string", "minLength": 1}, {"type": "object"}
URI = {"type": "string", "pattern": r"^[a-z][a-z0-9+.-]*:\S+$"}
TIME = {"type": "string", "pattern": r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$"}


def fields(required="", **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


DIGESTS = {"type": "object", "additionalProperties": {"type": "string", "pattern": "^[0-9a-f]{40,64}$"}}
DESCRIPTOR = fields(
    name=STRING,
    uri=URI,
    digest=DIGESTS | {"minProperties": 1},
    content=STRING,
    downloadLocation=URI,
    mediaType=STRING,
    annotations=OBJECT,
) | {"anyOf": [{"required": [one]} for one in ("uri", "digest", "content")]}
DESCRIPTORS = {"type": "array", "items": DESCRIPTOR}
# in-toto/attestation spec/v1/statement.md and resource_descriptor.md; SLSA v1.1 provenance.md
STATEMENT = fields(
    "_type subject predicateType predicate",
    _type={"const": "https://in-toto.io/Statement/v1"},
    subject=DESCRIPTORS | {"minItems": 1, "items": DESCRIPTOR | {"required": ["name", "digest"]}},
    predicateType={"const": "https://slsa.dev/provenance/v1"},
    predicate=fields(
        "buildDefinition runDetails",
        buildDefinition=fields(
            "buildType externalParameters",
            buildType=URI,
            externalParameters=OBJECT,
            internalParameters=OBJECT,
            resolvedDependencies=DESCRIPTORS,
        ),
        runDetails=fields(
            "builder",
            builder=fields("id", id=URI, version={"type": "object"}, builderDependencies=DESCRIPTORS),
            metadata=fields(invocationId=STRING, startedOn=TIME, finishedOn=TIME),
            byproducts=DESCRIPTORS,
        ),
    ),
)


@pytest.fixture
def record(tmp_path):
    return make_record(make_wheel(tmp_path))


def statement(record):
    return json.loads(provenance(json.dumps(record).encode()))


def test_it_has_the_published_fields_and_no_others(record):
    Draft202012Validator(STATEMENT).validate(statement(record))


def test_the_schema_of_this_test_rejects_an_unknown_field(record):
    wrong = statement(record)
    wrong["predicate"]["buildDefinition"]["materials"] = []
    with pytest.raises(ValidationError):
        Draft202012Validator(STATEMENT).validate(wrong)


def test_its_subject_is_the_wheel(record):
    wheel = record["wheel"]
    assert statement(record)["subject"] == [{"name": wheel["file"], "digest": {"sha256": wheel["sha256"]}}]


def test_it_has_the_request_as_external_parameters(record):
    asked = statement(record)["predicate"]["buildDefinition"]["externalParameters"]
    assert asked == {"target": "pi-one", "python": "3.11", "recipe": "thing", "version": "1.0"}


def test_each_source_and_image_of_all_artifacts_is_listed_once(record):
    found = statement(record)["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert sorted(value for one in found for value in one["digest"].values()) == [
        "1" * 64,
        "2" * 64,
        "6" * 64,
        "7" * 64,
    ]


def test_a_source_is_named_by_its_tree_and_where_it_came_from(record):
    found = statement(record)["predicate"]["buildDefinition"]["resolvedDependencies"]
    annotations = {"place": "archive thing-1.0.tar.gz"}
    assert {"name": "thing-1.0", "digest": {"pibuildTree": "1" * 64}, "annotations": annotations} in found


def test_it_has_pibuilds_version_and_the_times(record):
    details = statement(record)["predicate"]["runDetails"]
    assert details["builder"]["version"] == {"pibuild": "0.1.0"}
    assert details["metadata"] == {"startedOn": "2026-11-25T03:13:29Z", "finishedOn": "2026-11-25T03:15:00Z"}


def test_a_record_without_a_duration_gives_no_start(record):
    del record["wall_s"]
    assert statement(record)["predicate"]["runDetails"]["metadata"] == {"finishedOn": "2026-11-25T03:15:00Z"}


def test_it_names_the_record_and_the_extras(record):
    record["extras"] = [{"file": "libthing.tar.gz", "sha256": "8" * 64, "size_bytes": 5}]
    digests = {
        one["name"]: one["digest"]["sha256"] for one in statement(record)["predicate"]["runDetails"]["byproducts"]
    }
    record_sha256 = hashlib.sha256(json.dumps(record).encode()).hexdigest()
    assert digests == {f"{record['wheel']['file']}.record.json": record_sha256, "libthing.tar.gz": "8" * 64}


def test_equal_records_give_equal_bytes(record):
    content = json.dumps(record).encode()
    assert provenance(content) == provenance(content)
