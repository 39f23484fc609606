"""Every size's configuration, read by the programs' own code, which must know each of its keys."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.settings import RamClass, Software
from imagebuild.context import make_context
from imagebuild.host import debian_architecture
from imagebuild.programs import compile_go
from imagebuild.recipe import make_recipe
from services.sizing import SIZES, Size
from world.appliance import answer_wizard
from world.sandbox import Sandbox
from world.tree import REPOSITORY, ensure_tree

pytestmark = [pytest.mark.world, pytest.mark.timeout(900)]

# All that there is of the two homeservers, under /run/sizes/SOFTWARE-RAM-REACH.
RENDER = """
from dataclasses import replace
from pathlib import Path
from appliance.paths import Paths
from appliance.settings import *
from services.plan import load_plan, render_plan
from services.homeserver import find_homeserver
paths = Paths()
base = load_settings(paths.settings)
for software in Software:
    homeserver = find_homeserver(software)
    key = homeserver.signing_key(paths)
    key.parent.mkdir(parents=True, exist_ok=True)
    homeserver.make_signing_key(paths, key)
    for ram in RamClass:
        for reach in Reach:
            server = replace(base.server, software=software, reach=reach)
            device = replace(base.device, memory=ram)
            save_toml(replace(base, device=device, server=server), paths.settings, mode=0o640)
            place = Path(f"/run/sizes/{software}-{ram}-{reach}")
            for item in render_plan(paths, load_plan(paths), config=place):
                file = place / item.target
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(item.text)
"""
# Handed on as they are to psycopg2 and Twisted's connection pool, which refuse what they do not
# know: every start of the stack (test_stack.py) is the test of them.
HANDED_ON = ["database.args"]
READ = "PYTHONPATH=/usr/lib/hearth/synapse python3 /scratch/synapse_keys.py"


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    with Sandbox(ensure_tree(), tmp_path_factory.mktemp("sizes")) as found:
        answer_wizard(found, "synapse")
        found.python(RENDER)
        yield found


def test_synapse_asks_for_every_key(sandbox: Sandbox) -> None:
    files = "/run/sizes/synapse-*/synapse/homeserver.yaml"
    odd = "/run/odd.yaml"
    change = (
        "s/^presence:/presents:/; s/^  cache_autotuning:/  cache_autotunning:/;"
        " s/^    min_cache_ttl/    min_cache_tll/"
    )
    # A control: what a slip of the pen would look like.
    sandbox.run(["sh", "-c", f"sed '{change}' /run/sizes/synapse-1gb-lan/synapse/*r.yaml > {odd}"])
    found = json.loads(sandbox.run(["sh", "-c", f"{READ} {files} {odd}"]).stdout)
    assert found.pop(odd) == ["caches.cache_autotunning", *HANDED_ON, "presents"]
    assert len(found) == 2 * len(RamClass)
    assert {file: keys for file, keys in found.items() if keys != HANDED_ON} == {}


def test_dendrite_has_every_key(sandbox: Sandbox) -> None:
    program = sandbox.state / "data" / "strict"
    shutil.copy(_strict(), program)
    files = "/run/sizes/dendrite-*/dendrite/dendrite.yaml"
    output = sandbox.run(["sh", "-c", f"/data/strict {files}; ls {files} | wc -l"]).stdout
    assert output.split() == [str(2 * len(RamClass))], output
    change = "s/max_open_conns/max_open_cons/"
    sandbox.run(["sh", "-c", f"sed {change} /run/sizes/dendrite-1gb-lan/*/d*.yaml > /run/odd"])
    refused = sandbox.run(["/data/strict", "/run/odd"], check=False)
    assert refused.returncode == 1
    assert "field max_open_cons not found" in refused.stdout


def _strict() -> Path:
    """Built from the image's own go.mod, so it has the types of the Dendrite that ships."""
    context = make_context(make_recipe("hearth"))
    place = Path(tempfile.mkdtemp(prefix="strict-"))
    module = REPOSITORY / "image/profiles" / context.recipe.profile.dendrite.directory
    source, output = place / "source", place / "output"
    output.mkdir()
    source.mkdir()
    for file in (module / "go.mod", module / "go.sum", Path(__file__).parent / "strict/main.go"):
        shutil.copy(file, source)
    compile_go(context, "strict", output, source, ["."], debian_architecture())
    [program] = output.iterdir()
    return program


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_postgresql_takes_every_value(sandbox: Sandbox, size: Size) -> None:
    # "postgres -C" counts in the parameter's own unit: pages of 8 KiB, kB, MB, seconds.
    wanted = {
        "shared_buffers": str(size.postgresql["shared_buffers"] * 128),
        "work_mem": str(size.postgresql["work_mem"] * 1024),
        "maintenance_work_mem": str(size.postgresql["maintenance"] * 1024),
        "max_wal_size": str(size.postgresql["max_wal"]),
        "checkpoint_timeout": str(size.postgresql["checkpoint_min"] * 60),
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "fsync": "on",
        "wal_compression": "lz4",
        "max_connections": str(size.database_connections(Software.SYNAPSE)),
    }
    code = f"""
import json, subprocess
place = "/run/sizes/synapse-{size.ram}-lan/postgresql"
found = {{}}
for name in {list(wanted)!r}:
    argv = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups",
            "/usr/lib/postgresql/17/bin/postgres", "-C", name, "-D", place,
            "-c", f"config_file={{place}}/postgresql.conf"]
    found[name] = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.strip()
print(json.dumps(found))
"""
    found = json.loads(sandbox.python(code))
    assert found == wanted
