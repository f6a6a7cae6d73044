import os
import pathlib
import shutil
import tempfile

import pytest

# Before they are imported, so that what they assert is shown with its values, as in the tests themselves.
pytest.register_assert_rewrite("disclosure", "kill_walk", "renewals", "workspace")

from peers.aws import AWS  # noqa: E402
from peers.openbao import OpenBao  # noqa: E402
from peers.postgresql import PostgreSQL  # noqa: E402
from workspace import Workspace  # noqa: E402


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
