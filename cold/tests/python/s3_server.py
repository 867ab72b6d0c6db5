"""An S3-compatible server with one bucket, on a free port of the loopback interface.

Prints its port when the bucket is there, and ends when its standard input does.
"""

import sys

import boto3
from moto.server import ThreadedMotoServer


def main() -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    _, port = server.get_host_and_port()
    client = boto3.client(
        "s3",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name="us-east-1",
        aws_access_key_id="key",
        aws_secret_access_key="secret",
    )
    client.create_bucket(Bucket=sys.argv[1])
    print(port, flush=True)
    sys.stdin.read()
    server.stop()


main()
