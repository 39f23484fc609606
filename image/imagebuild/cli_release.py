"""`hearth release`: channels of releases as a directory of static files."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from urllib.parse import urlsplit

from appliance.channelindex import to_seconds
from appliance.errors import ConfigError, UsageError
from appliance.release import Channel, Index
from appliance.tables import to_table
from imagebuild.bundle import read_notes
from imagebuild.recipe import SOURCE
from imagebuild.release import EXPIRY_DAYS, Publisher, init_site
from imagebuild.signer import TOKEN, Signer
from imagebuild.site import Site

KEYS = SOURCE / "build/keys"
DAY = 86400.0
EPILOG = """a release's way, with 'K' for --cert 2027.crt --key 2027.key --keyring keyring.pem:
  hearth release init    site --url https://updates.example.org/hearth K
  hearth release publish site --bundle hearth-1.2.raucb --image hearth-1.2-arm64.img.zst K
  hearth release promote site 1.2 --percent 5 K       from beta to stable, to 5 % of all
  hearth release rollout site 1.2 --percent 25 K      a day later; then 100
  hearth release pause   site 1.2 K                   nobody more gets it
  hearth release resign  site K                       each week: an index counts for 60 days
Without K this checkout's development keys are used. Copy the directory to the web server with
releases/ first:  rsync -a site/releases server:...; rsync -a --delete site/ server:..."""


def add_release(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    release = commands.add_parser(
        "release",
        help="publish releases for appliances to find",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    verbs = release.add_subparsers(required=True, metavar="VERB")
    init = _verb(verbs, "init", "an update server's directory with empty channels", signs=True)
    init.add_argument("--url", required=True, help="where the directory will be served")
    init.set_defaults(command=init_command)
    _add_publish(verbs)
    _add_rollouts(verbs)
    resign = _verb(verbs, "resign", "let the channels count from today on, or by a new key",
                   signs=True)  # fmt: skip
    resign.add_argument("--channel", type=Channel, choices=list(Channel), help="default: all")
    resign.set_defaults(command=resign_command)
    show = _verb(verbs, "show", "what the channels have", signs=False)
    show.set_defaults(command=show_command)


def _add_publish(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    publish = _verb(verbs, "publish", "put a new bundle into a channel", signs=True)
    publish.add_argument("--bundle", type=_file, required=True, metavar="FILE")
    publish.add_argument("--channel", type=Channel, choices=list(Channel), default=Channel.BETA,
                         help="default: %(default)s")  # fmt: skip
    publish.add_argument("--percent", type=float, default=100.0, help="of the appliances; 100")
    publish.add_argument("--notes", type=_file, metavar="FILE", help="release notes, plain text")
    publish.add_argument("--image", type=_file, metavar="FILE",
                         help="the build's .img.zst: for Raspberry Pi Imager's list")  # fmt: skip
    publish.set_defaults(command=publish_command)
    promote = _verb(verbs, "promote", "put a release into another channel as well", signs=True)
    promote.add_argument("version")
    promote.add_argument("--source", type=Channel, choices=list(Channel), default=Channel.BETA,
                         help="default: %(default)s")  # fmt: skip
    promote.add_argument("--channel", type=Channel, choices=list(Channel), default=Channel.STABLE,
                         help="default: %(default)s")  # fmt: skip
    promote.add_argument("--percent", type=float, default=100.0, help="of the appliances; 100")
    promote.set_defaults(command=promote_command)


def _add_rollouts(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    rollout = _verb(verbs, "rollout", "let more appliances have a release", signs=True)
    rollout.add_argument("version")
    rollout.add_argument("--percent", type=float, required=True, help="of the appliances")
    rollout.set_defaults(command=rollout_command, paused=None)
    pause = _verb(verbs, "pause", "let nobody more have a release", signs=True)
    pause.add_argument("version")
    pause.set_defaults(command=rollout_command, percent=None, paused=True)
    resume = _verb(verbs, "resume", "go on with a paused release", signs=True)
    resume.add_argument("version")
    resume.set_defaults(command=rollout_command, percent=None, paused=False)
    for verb in (rollout, pause, resume):
        verb.add_argument("--channel", type=Channel, choices=list(Channel),
                          default=Channel.STABLE, help="default: %(default)s")  # fmt: skip


def _verb(
    verbs: argparse._SubParsersAction[argparse.ArgumentParser], name: str, help: str, *, signs: bool
) -> argparse.ArgumentParser:
    verb = verbs.add_parser(name, help=help)
    verb.add_argument("directory", type=Path, metavar="DIR", help="the update server's directory")
    verb.add_argument("--keyring", type=Path, default=KEYS / "keyring.pem", metavar="FILE",
                      help="that of the images, with the newest list of revoked keys")  # fmt: skip
    verb.add_argument("--json", action="store_true", help="the channels as JSON")
    if signs:
        verb.add_argument("--cert", type=Path, default=KEYS / "development.crt", metavar="FILE",
                          help="a release certificate")  # fmt: skip
        verb.add_argument("--key", default=str(KEYS / "development.key"), metavar="FILE|URI",
                          help="its key, or pkcs11:...")  # fmt: skip
        verb.add_argument("--days", type=_days, default=EXPIRY_DAYS,
                          help="how long the index counts; %(default)g")  # fmt: skip
        verb.add_argument("--dry-run", action="store_true", help="look at all, write nothing")
    return verb


def _file(text: str) -> Path:
    if not Path(text).is_file():
        raise argparse.ArgumentTypeError(f"there is no file {text}")
    return Path(text)


def _days(text: str) -> float:
    days = float(text)
    if not 1 <= days <= 400:  # noqa: PLR2004
        raise argparse.ArgumentTypeError(f"{text!r} is not between 1 and 400")
    return days


def init_command(options: argparse.Namespace) -> int:
    parts = urlsplit(options.url)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query:
        message = f"{options.url!r} is no address of a web server's directory"
        raise UsageError(message, hint="it looks like https://updates.example.org/hearth")
    if options.dry_run:
        raise UsageError("init has nothing to look at", hint="leave --dry-run out")
    site, indexes = init_site(
        options.directory, options.url, lambda site: _publisher(options, site)
    )
    _print(options, site, indexes)
    return 0


def publish_command(options: argparse.Namespace) -> int:
    notes = read_notes(options.notes)
    publisher = _publisher(options)
    index = publisher.publish(options.channel, options.bundle, notes=notes,
                              percent=options.percent, image=options.image)  # fmt: skip
    _print(options, publisher.site, (index,))
    return 0


def promote_command(options: argparse.Namespace) -> int:
    publisher = _publisher(options)
    index = publisher.promote(options.version, options.source, options.channel, options.percent)
    _print(options, publisher.site, (index,))
    return 0


def rollout_command(options: argparse.Namespace) -> int:
    publisher = _publisher(options)
    index = publisher.change_rollout(options.channel, options.version,
                                     percent=options.percent, paused=options.paused)  # fmt: skip
    _print(options, publisher.site, (index,))
    return 0


def resign_command(options: argparse.Namespace) -> int:
    publisher = _publisher(options)
    channels = (options.channel,) if options.channel else publisher.site.channels()
    indexes, left_out = zip(*(publisher.resign(channel) for channel in channels), strict=True)
    _print(options, publisher.site, indexes)
    if not options.json:
        for version in sorted({one for versions in left_out for one in versions}):
            print(f"{version} is left out: its bundle was signed by a revoked key")
    return 0


def show_command(options: argparse.Namespace) -> int:
    site = Site(options.directory)
    assert site.url
    keyring = _key_file(options.keyring)
    indexes = tuple(site.load(channel, keyring) for channel in site.channels())
    _print(options, site, indexes)
    return 0


def _publisher(options: argparse.Namespace, site: Site | None = None) -> Publisher:
    if site is None:
        site = Site(options.directory)
        assert site.url
    if not options.key.startswith(TOKEN):
        _key_file(Path(options.key))
    return Publisher(
        site=site,
        signer=Signer(
            certificate=_key_file(options.cert),
            key=options.key,
            keyring=_key_file(options.keyring),
        ),
        now=time.time(),
        days=options.days,
        dry_run=options.dry_run,
    )


def _key_file(path: Path) -> Path:
    if not path.is_file():
        hint = "`hearth keys` makes one; a build makes this checkout's own for development"
        raise ConfigError(f"there is no {path}", hint=hint)
    return path


def _print(options: argparse.Namespace, site: Site, indexes: tuple[Index, ...]) -> None:
    if options.json:
        table = {index.channel.value: to_table(index) for index in indexes}
        print(json.dumps(table, indent=1))
        return
    print(f"{site.directory}: {site.url}")
    for index in indexes:
        left = (to_seconds(index.expires) - time.time()) / DAY
        ends = f"ends in {left:.0f} days" if left > 0 else "HAS ENDED: `hearth release resign`"
        print(f"  {index.channel.value}: number {index.sequence}, {ends}")
        for release in index.releases:
            rollout = release.rollout
            state = "paused" if rollout.paused else f"{rollout.percent:g} %"
            size = f"{release.bundle.size / 1e6:.1f} MB"
            print(f"    {release.facts.version:<12} {state:>7} {size:>10}  {release.published}")
    if getattr(options, "dry_run", False):
        print("nothing was written (--dry-run)")
