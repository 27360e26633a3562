"""s3://: lists, objects, signatures, and a server that answers with something else."""

import datetime as dt
from typing import Any

import pytest

from catalog.sources import open_tree, sigv4
from catalog.sources.tree import SourceDenied, SourceError, SourceMissing, SourceRefused, Tree
from tests.catalog.source_kit import Remote, bucket_server

pytestmark = pytest.mark.slow

FILES = {
    "granite/config.json": b"{}", "granite/model.safetensors": bytes(range(256)) * 64, "granite/onnx/": b"",
    "granite/onnx/a b+c.txt": b"text", "granite-other/x": b"x",
}  # fmt: skip
ACCESS, SECRET = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"


@pytest.fixture
def bucket(settings: Any) -> Any:
    with bucket_server(files=dict(FILES)) as remote:
        settings.BUCKET_URL, settings.OUTBOUND_HTTP = remote.url, False
        settings.OUTBOUND_ALLOW = {**settings.OUTBOUND_ALLOW, "bucket": ["127.0.0.1"]}
        yield remote


def read(tree: Tree, path: str, start: int = 0) -> bytes:
    with tree.open(path, start) as stream:
        return stream.read()


@pytest.mark.parametrize(
    ("url", "headers", "signed", "signature"),
    [
        ("https://examplebucket.s3.amazonaws.com/test.txt", {"range": "bytes=0-9"},
         "host;range;x-amz-content-sha256;x-amz-date",
         "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41"),
        ("https://examplebucket.s3.amazonaws.com/?lifecycle", {},
         "host;x-amz-content-sha256;x-amz-date", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ("https://examplebucket.s3.amazonaws.com/?max-keys=2&prefix=J", {},
         "host;x-amz-content-sha256;x-amz-date", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
    ],
    ids=["object with a range", "value without =", "list"],
)  # fmt: skip
def test_signatures_are_those_of_the_published_examples(
    url: str, headers: dict[str, str], signed: str, signature: str
) -> None:
    """The examples of the reference “Authenticating Requests: Using the Authorization Header”."""
    now = dt.datetime(2013, 5, 24, tzinfo=dt.UTC)
    made = sigv4.sign(url, headers, region="us-east-1", access_key=ACCESS, secret_key=SECRET, now=now)
    assert made["Authorization"] == (
        f"AWS4-HMAC-SHA256 Credential={ACCESS}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}"
    )
    assert made["x-amz-date"] == "20130524T000000Z"


def test_the_objects_below_a_prefix_page_by_page(bucket: Remote) -> None:
    tree = open_tree("s3://models/granite")
    found = {entry.path: entry.bytes for entry in tree.entries()}
    assert found == {"config.json": 2, "model.safetensors": 16_384, "onnx/a b+c.txt": 4}
    assert len([path for path in bucket.asked if "list-type=2" in path]) == 2
    assert read(tree, "onnx/a b+c.txt") == b"text"
    assert read(tree, "model.safetensors", 100) == FILES["granite/model.safetensors"][100:]
    assert tree.revision == ""


def test_requests_are_signed_where_there_is_a_key(bucket: Remote, settings: Any) -> None:
    bucket.secret = "wanted"
    with pytest.raises(SourceDenied):
        list(open_tree("s3://models/granite").entries())
    settings.BUCKET_ACCESS_KEY, settings.BUCKET_SECRET_KEY = ACCESS, SECRET
    tree = open_tree("s3://models/granite")
    assert len(list(tree.entries())) == 3 and read(tree, "config.json") == b"{}"
    assert all(SECRET not in f"{path}{headers}" for path, headers in bucket.log)


def test_an_object_that_changed_since_it_was_listed_is_not_read(bucket: Remote) -> None:
    tree = open_tree("s3://models/granite")
    list(tree.entries())
    bucket.served["granite/config.json"] = b"[]"
    with pytest.raises(SourceError, match="has changed"):
        read(tree, "config.json")


def test_a_prefix_without_objects_is_missing(bucket: Remote) -> None:
    for source in ("s3://models/gran", "s3://models/none"):
        with pytest.raises(SourceMissing):
            list(open_tree(source).entries())


@pytest.mark.parametrize(
    "key", ["granite/../x", "granite//x", "granite/a\\b", "granite/config.json/x", "granite/" + "d/" * 40 + "x"]
)
def test_keys_that_are_no_paths_are_refused(bucket: Remote, key: str) -> None:
    bucket.files[key] = b"x"
    with pytest.raises(SourceRefused):
        list(open_tree("s3://models/granite").entries())


LIST = '<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{}</ListBucketResult>'


@pytest.mark.parametrize(
    "body",
    [
        b"<html>proxy</html>", b"", b"{}", b"<ListBucketResult>", b"<Error/>",
        b'<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>' + LIST.format("&b;").encode(),
        b'<!DOCTYPE x SYSTEM "http://169.254.169.254/">' + LIST.format("").encode(),
        LIST.format("<Contents><Key>elsewhere/x</Key><Size>1</Size></Contents>").encode(),
        LIST.format("<Contents><Key>granite/x</Key><Size>-1</Size></Contents>").encode(),
        LIST.format("<Contents><Key>granite/x</Key></Contents>").encode(),
    ],
    ids=["html", "empty", "json", "cut", "error", "entities", "outside", "other prefix", "size", "no size"],
)  # fmt: skip
def test_an_answer_that_is_no_list_is_refused(bucket: Remote, body: bytes) -> None:
    bucket.answers["/models"] = (200, {}, body)
    with pytest.raises(SourceError):
        list(open_tree("s3://models/granite").entries())


def test_a_list_without_end_ends(bucket: Remote, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("catalog.sources.bucket.MAX_PAGES", 5)
    more = "<IsTruncated>true</IsTruncated><NextContinuationToken>0</NextContinuationToken>"
    bucket.answers["/models"] = (200, {}, LIST.format(more).encode())
    with pytest.raises(SourceRefused, match="more than"):
        list(open_tree("s3://models/granite").entries())
    assert len(bucket.log) == 5


@pytest.mark.parametrize(
    "source", ["s3://", "s3://a", "s3://A_B/x", "s3://a..b/x", "s3://models/../x", "s3:///x", "s3://models/a//b"]
)
def test_odd_sources_are_refused(bucket: Remote, source: str) -> None:
    with pytest.raises(SourceRefused):
        open_tree(source)


def test_without_a_server_there_are_no_buckets(settings: Any) -> None:
    settings.BUCKET_URL = ""
    with pytest.raises(SourceDenied, match="GATEHOUSE_BUCKET_URL"):
        open_tree("s3://models/x")


def test_a_redirect_is_not_followed_with_a_signature(bucket: Remote) -> None:
    bucket.answers["/models"] = (307, {"Location": "http://169.254.169.254/"}, b"")
    with pytest.raises(SourceRefused, match="answer 307"):
        list(open_tree("s3://models/granite").entries())
