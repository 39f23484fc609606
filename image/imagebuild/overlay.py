"""The device layer: our packages, the overlays and what makes the whole a Hearth.

It is made on an overlayfs over the other layers, so that tools like systemd-sysusers see the
whole root; only what changed lands in the layer.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import CommandError
from appliance.persistence import PERSISTED
from appliance.run import run
from appliance.tables import to_table
from imagebuild.cache import ensure_layer, hash_files, hash_inputs
from imagebuild.context import Context
from imagebuild.facts import release_facts
from imagebuild.initramfs import make_initramfs
from imagebuild.keyring import check_keyring
from imagebuild.keys import ensure_development_keys
from imagebuild.packages import PackageSet
from imagebuild.rootfs import package_date
from imagebuild.sandbox import inside

CODE = ("image/imagebuild/overlay.py", "image/imagebuild/initramfs.py", "image/imagebuild/facts.py")
DEVICE_PACKAGES = ("firstboot/appliance", "firstboot/services", "firstboot/firstboot",
                   "setup-ui/setup_ui")  # fmt: skip
SITE = Path("usr/lib/python3/dist-packages")
KEYRING = Path("usr/share/hearth/update/keyring.pem")
MOUNT_POINTS = ("data", "boot/firmware")
# Rendered or bound at every boot: must not be baked into the slot.
# /etc/.updated says that /etc is as new as /usr (systemd-update-done.service(8)).
EMPTY_FILES = ("etc/machine-id", "etc/.updated", "var/.updated")
GONE = ("etc/hostname", "var/lib/dbus/machine-id", "etc/nginx/sites-enabled/default")


def merged(lowers: Sequence[Path], upper: Path, work: Path, at: Path) -> list[str]:
    """argv prefix: the layers mounted over each other at ``at``, in a mount namespace of its own.

    ``lowers`` are listed top first, as overlayfs wants them.
    """
    for path in (upper, work, at):
        path.mkdir(parents=True, exist_ok=True)
    options = (
        f"lowerdir={':'.join(map(os.fspath, lowers))},upperdir={upper},workdir={work},"
        "xino=off,index=off,metacopy=off,redirect_dir=off"
    )
    script = f'mount -t overlay overlay -o "{options}" "{at}"; exec "$@"'
    return ["unshare", "--mount", "--propagation", "private", "sh", "-ec", script, "sh"]


def ensure_device(context: Context, packages: PackageSet, layers: Sequence[Path]) -> Path:
    """The top layer over ``layers`` (top first; the kernel layer among them)."""
    source = context.recipe.source
    inputs = [source / name for name in (*DEVICE_PACKAGES, "overlays", "image/boot", *CODE)]
    key = hash_inputs(
        hash_files(inputs, base=source),
        [layer.name for layer in layers],
        context.recipe.version,
        context.recipe.profile.minimum,
        context.recipe.update_url,
        trusted_keyring(context).read_text(),
        context.recipe.profile.kernel,
        context.recipe.profile.masked,
        source_date_epoch(context),
    )
    return ensure_layer(
        context.layers,
        "device",
        key,
        lambda target: _make(context, packages, layers, target),
        title="Laying on our packages and overlays",
    )


def trusted_keyring(context: Context) -> Path:
    """What the image will believe its updates from. Raises ConfigError when it must not."""
    recipe = context.recipe
    keyring = recipe.keyring or ensure_development_keys(recipe.development_keys)
    check_keyring(keyring, release=recipe.release)
    return keyring


def source_date_epoch(context: Context) -> int:
    """The date of everything in the image: the day of the pinned packages, not of the build.

    Taken from the lock's content, so that the same lock gives the same bytes
    (reproducible-builds.org, SOURCE_DATE_EPOCH).
    """
    if "SOURCE_DATE_EPOCH" in os.environ:
        return int(os.environ["SOURCE_DATE_EPOCH"])
    layers = context.layers.glob("packages-*")
    used = max(layers, key=lambda path: path.stat().st_mtime)  # ensure_layer touches it
    return package_date(used)


def _make(context: Context, packages: PackageSet, layers: Sequence[Path], target: Path) -> None:
    source = context.recipe.source
    for name in DEVICE_PACKAGES:
        shutil.copytree(
            source / name,
            target / SITE / Path(name).name,
            ignore=shutil.ignore_patterns("__pycache__", "py.typed"),
        )
    for overlay in sorted((source / "overlays").iterdir()):
        shutil.copytree(overlay, target, symlinks=True, dirs_exist_ok=True)
    set_modes(target)
    for name in context.recipe.profile.masked.paths:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).unlink(missing_ok=True)
        (target / name).symlink_to("/dev/null")
    for name in MOUNT_POINTS:
        (target / name).mkdir(parents=True, exist_ok=True)
    for name in EMPTY_FILES:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text("")
    facts = target / "usr/share/hearth/image.json"
    facts.parent.mkdir(parents=True, exist_ok=True)
    facts.write_text(json.dumps(image_facts(context, packages, layers), indent=1) + "\n")
    (target / KEYRING).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(trusted_keyring(context), target / KEYRING)
    hearthctl = target / "usr/bin/hearthctl"
    hearthctl.parent.mkdir(parents=True, exist_ok=True)
    hearthctl.write_text(HEARTHCTL)
    hearthctl.chmod(0o755)
    kernel = next(layer for layer in layers if layer.name.startswith("kernel-"))
    boot = target / "boot"
    make_initramfs(context, packages, kernel, boot / "initramfs")
    make_script(context, source / "image/boot/slot.cmd", boot / "slot.scr")
    _finish(context, layers, target)


def set_modes(tree: Path) -> None:
    """git keeps only the executable bit: the rest is the umask of whoever checked out."""
    for path in (tree, *tree.rglob("*")):
        if not path.is_symlink():
            runs = path.is_dir() or path.stat().st_mode & 0o100
            path.chmod(0o755 if runs else 0o644)


HEARTHCTL = """#!/usr/bin/python3 -I
import sys
sys.path.insert(0, "/usr/lib/python3/dist-packages")
from firstboot.__main__ import main
raise SystemExit(main())
"""

FINISH = """
systemd-sysusers --root=/target
systemctl --root=/target preset-all 2>&1 | grep -v '^Created symlink\\|^Removed' || true
rm -f $GONE_FILES
chmod 0755 /target
"""


def _finish(context: Context, layers: Sequence[Path], target: Path) -> None:
    """Users, unit presets and byte code, seen over the whole root."""
    at = context.work / "merged"
    # overlayfs wants its work directory beside the upper one, and the cache may be another disk.
    scratch = context.layers / ".overlay-work"
    prefix = merged(layers, target, scratch, at)
    sandbox = inside(
        context.tools,
        binds=[(at, "/target")],
        env={
            "SYSTEMD_OFFLINE": "1",
            "SOURCE_DATE_EPOCH": str(source_date_epoch(context)),
            "GONE_FILES": " ".join(f"/target/{name}" for name in GONE),
        },
    )
    log = context.logs / "device.log"
    with log.open("w") as output:
        result = run([*prefix, *sandbox, "sh", "-ec", FINISH], log=output, check=False)
    shutil.rmtree(scratch, ignore_errors=True)
    if result.returncode != 0:
        message = f"the device layer could not be finished:\n{log.read_text()[-600:].strip()}"
        raise CommandError(message, hint=f"the whole log is {log}")
    ours = [f"/target/{SITE / Path(name).name}" for name in DEVICE_PACKAGES]
    compiler = inside(context.tools, binds=[(target, "/target")])
    run([*compiler, "python3", "-m", "compileall", "-q", "-s", "/target",
         "--invalidation-mode", "unchecked-hash", *ours])  # fmt: skip


def make_script(context: Context, source: Path, target: Path) -> None:
    """A U-Boot script image (mkimage, legacy format: what `source` takes everywhere)."""
    target.parent.mkdir(parents=True, exist_ok=True)
    sandbox = inside(
        context.tools,
        binds=[(target.parent, "/mnt")],
        read_only=[(source.parent, "/srv")],
        env={"SOURCE_DATE_EPOCH": str(source_date_epoch(context))},
    )
    run([*sandbox, "mkimage", "-q", "-A", "arm64", "-O", "linux", "-T", "script", "-C", "none",
         "-n", "hearth", "-d", f"/srv/{source.name}", f"/mnt/{target.name}"])  # fmt: skip


def image_facts(
    context: Context, packages: PackageSet, layers: Sequence[Path]
) -> dict[str, object]:
    """What the appliance says about its own image (Paths.image_facts)."""
    recipe = context.recipe
    facts = release_facts(context, packages, layers)
    return {
        "version": recipe.version,
        "development": not recipe.release,
        "boot_interface": facts.boot_interface,
        "facts": to_table(facts),
        "update_url": recipe.update_url,
        "kernel": packages.kernel_release,
        "persisted": sorted(row.path for row in PERSISTED),
        "packages": hashlib.sha256(
            "".join(package.sha256 for package in packages.root).encode()
        ).hexdigest()[:16],
    }
