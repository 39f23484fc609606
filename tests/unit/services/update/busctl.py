"""busctl as RAUC's service answers it, for what needs a real one's kernel: writing a slot.

Its answers are copies of those of RAUC 1.13 (test_rauc.py asks a real one where there is one). The
directory HEARTH_TEST_RAUC holds what happens: bundles.json (source -> info or error), plan.json
(what the next installation does), and what it has written down.
"""

from __future__ import annotations

# Started hundreds of times: without site packages, and with little to import.
import json
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

PLACE = os.environ["HEARTH_TEST_RAUC"]


def read(name: str) -> Any:
    try:
        with open(f"{PLACE}/{name}.json") as file:  # noqa: PTH123
            return json.load(file)
    except FileNotFoundError:
        return {}


def write(name: str, value: Any) -> None:
    with open(f"{PLACE}/{name}.json", "w") as file:  # noqa: PTH123
        json.dump(value, file)


def fail(text: str) -> int:
    sys.stderr.write(f"Call failed: {text}\n")
    return 1


def variant(kind: str, value: object) -> dict[str, object]:
    return {"type": kind, "data": value}


def inspect(source: str) -> int:
    bundle = read("bundles").get(source)
    if bundle is None:
        return fail(f"Invalid bundle format: Failed to open bundle for reading: {source}")
    if "error" in bundle:
        return fail(bundle["error"])
    update = {name: variant("s", bundle["update"][name]) for name in ("version", "compatible")}
    info = {
        "update": variant("v", variant("a{sv}", update)),
        "manifest-hash": variant("s", bundle["manifest"]),
        "meta": variant("v", variant("a{sa{ss}}", {"hearth": bundle["meta"]})),
    }
    print(json.dumps(variant("a{sv}", [info])))
    return 0


def install(source: str, transaction: str) -> int:
    run = read("run")
    if run.get("steps"):
        return fail("Already processing a different method")
    plan = read("plan")
    if plan.get("refuse"):
        return fail(plan["refuse"])
    bundle = read("bundles").get(plan.get("swapped", source), {})
    steps = plan.get("steps", [[40, "Copying image to rootfs.1"], [90, "x"]])
    write("run", {"steps": steps, "transaction": transaction, "bundle": bundle, "plan": plan})
    write("calls", [*(read("calls") or []), [source, transaction]])
    return 0


def look() -> int:
    run = read("run")
    error, progress, operation = run.get("error", ""), [0, "", 0], "idle"
    if run.get("steps"):
        progress, operation = [*run["steps"].pop(0), 1], "installing"
        if not run["steps"]:
            end(run)
            error, progress, operation = run.get("error", ""), run["progress"], "idle"
        write("run", run)
    elif "progress" in run:
        progress = run["progress"]
    for answer in (variant("s", operation), variant("(isi)", progress), variant("s", error)):
        print(json.dumps(answer))
    return 0


def end(run: dict[str, Any]) -> None:
    plan, bundle = run["plan"], run["bundle"]
    run["error"] = plan.get("error", "")
    run["progress"] = [100, "Installing failed." if run["error"] else "Installing done.", 1]
    if not run["error"] and not plan.get("crash"):
        record = {
            "status": plan.get("status", "ok"),
            "bundle.version": bundle["update"]["version"],
            "bundle.hash": bundle["manifest"],
            "installed.transaction": run["transaction"],
        }
        write("slots", {**read("slots"), plan.get("slot", "B"): record})


def slots() -> int:
    if read("run").get("steps"):
        return fail("already processing a different method")
    found = []
    for number, name in enumerate("AB"):
        status = {"bootname": variant("s", name), "class": variant("s", "rootfs")}
        status |= {key: variant("s", value) for key, value in read("slots").get(name, {}).items()}
        found.append([f"rootfs.{number}", status])
    print(json.dumps(variant("a(sa{sv})", [found])))
    return 0


def main() -> int:
    if os.path.exists(f"{PLACE}/dead"):  # noqa: PTH110
        return fail("The name de.pengutronix.rauc was not provided by any .service files")
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    verb, name, path, interface, *rest = words
    assert (name, path) == ("de.pengutronix.rauc", "/")
    assert interface == "de.pengutronix.rauc.Installer"
    if verb == "get-property":
        assert rest == ["Operation", "Progress", "LastError"]
        return look()
    match rest:
        case ["InspectBundle", "sa{sv}", source, "0"]:
            return inspect(source)
        case ["InstallBundle", "sa{sv}", source, "1", "transaction-id", "s", transaction]:
            return install(source, transaction)
        case ["GetSlotStatus"]:
            return slots()
    return fail(f"Unknown method {rest}")


if __name__ == "__main__":
    sys.exit(main())
