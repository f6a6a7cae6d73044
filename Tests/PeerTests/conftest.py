import os
import pathlib
import shutil
import tempfile

import pytest

from peers.aws import AWS
from peers.openbao import OpenBao
from peers.postgresql import PostgreSQL
from workspace import Workspace


@pytest.fixture(scope="session")
def scratch():
    folder = pathlib.Path(tempfile.mkdtemp(prefix="keyturn-peers-"))
    yield folder
    if "KEYTURN_TEST_KEEP" not in os.environ:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bao(scratch):
    server = OpenBao(scratch)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def aws(scratch):
    server = AWS(scratch)
    yield server
    server.stop()


@pytest.fixture(scope="session")
def postgres():
    server = PostgreSQL()
    server.run("CREATE ROLE trusting LOGIN")
    server.run("CREATE ROLE barred LOGIN")
    yield server
    server.stop()


@pytest.fixture
def workspace(tmp_path):
    space = Workspace(tmp_path / "site")
    space.configure()
    return space


def systems(bao, aws):
    """The configuration of every peer, with Keyturn's own credentials as references."""
    credentials = "credentials: {accessKeyId: {env: KT_AWS_ID}, secretAccessKey: {env: KT_AWS_SECRET}}"
    return dict(
        issuers=f"iam: {{type: aws-iam-access-key, region: eu-west-1, endpoint: '{aws.endpoint}', {credentials}}}\n",
        backends=f"bao: {{type: vault-kv2, address: '{bao.address}', auth: {{token: {{env: KT_BAO}}}}}}\n"
        f"aws: {{type: aws-secrets-manager, region: eu-west-1, endpoint: '{aws.endpoint}', {credentials}}}\n")


def references(aws):
    return {"KT_BAO": "root", "KT_AWS_ID": aws.key_id, "KT_AWS_SECRET": aws.secret_key}


@pytest.fixture
def site(workspace, bao, aws):
    """A workspace with the random and IAM issuers, and the file vault, OpenBao and AWS as backends."""
    workspace.configure(**systems(bao, aws))
    workspace.environment = references(aws)
    return workspace
