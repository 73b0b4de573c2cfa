"""The demo on a bucket: the same code, with a real endpoint on loopback."""

from collections.abc import Iterator

import pytest
from command_runs import Runner
from moto.server import ThreadedMotoServer


@pytest.fixture
def endpoint() -> Iterator[str]:
    """An S3 endpoint with the bucket `lab`."""
    import boto3

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="k", aws_secret_access_key="s", region_name="us-east-1"
    )
    client.create_bucket(Bucket="lab")
    client.close()
    yield url
    server.stop()


@pytest.mark.any_python
def test_a_bucket_is_a_store_like_any_other(mlflowish: Runner, endpoint: str) -> None:
    options = ["--store", "s3://lab/demo", "-o", f"endpoint_url={endpoint}", "-o", "key=k", "-o", "secret=s", "--json"]
    done = mlflowish("demo", *options, PYTHONWARNINGS="default")
    assert done.code == 0, done.err
    first, second = done.document["runs"]
    assert [call["hit"] for call in first["calls"]] == [False] * 6
    assert [call["hit"] for call in second["calls"]] == [True] * 6
    assert first["process"] != second["process"]

    # Six calls, six parts of their results, and the pipeline as a whole.
    found = mlflowish("status", *options, PYTHONWARNINGS="default").document
    assert (found["store"].startswith("s3://lab/demo"), found["results"], found["steps"]) == (True, 13, 7)
