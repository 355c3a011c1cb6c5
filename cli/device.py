"""`bopkit device`: list, set up, look at and clean the devices that latency is measured on."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bopkit.cli.arguments import Json
from bopkit.cli.next_step import say_next
from bopkit.cli.output import print_json, print_table, say, show, size_text

if TYPE_CHECKING:
    from bopkit.benchmark.devices.info import DeviceInfo

Name = Annotated[
    str,
    typer.Argument(metavar="DEVICE", help="ssh://[user@]host[:port], adb[:serial] or local.", show_default=False),
]


def list_(json: Json = False) -> None:
    """List this host, the devices that were set up from it, and the devices that adb sees."""
    from bopkit.benchmark.devices.info import list_devices

    devices = list_devices()
    if json:
        print_json([dataclasses.asdict(device) for device in devices])
    else:
        print_table(["device", "about"], [(device.name, device.about) for device in devices], text=["about"])


def info(name: Name, json: Json = False) -> None:
    """Show what a device is, and whether it is ready to measure."""
    from bopkit.benchmark.devices.info import device_info

    _print_info(device_info(name), json)


def setup(
    name: Name,
    wheels: Annotated[
        Path | None,
        typer.Option("--wheels", metavar="DIR", help="Wheels to use; default: compiled and downloaded here."),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option("--python", metavar="PATH", help="Python 3.9 or newer on the device; default: python3."),
    ] = None,
    folder: Annotated[
        str | None,
        typer.Option("--folder", metavar="DIR", help="Folder on the device to put it into; default: the home folder."),
    ] = None,
    json: Json = False,
) -> None:
    """Put the runtime on a device over ssh. The device needs Python 3.9 or newer, and no internet."""
    from bopkit.benchmark.devices.ssh_setup import set_up_device

    ready = set_up_device(name, wheels, python, say, folder)
    _print_info(ready, json)
    if not json and ready.is_ready:
        say_next("bopkit", "benchmark", "model.tflite", "--device", name)


def remove(
    name: Name,
    forget: Annotated[
        bool, typer.Option("--forget", help="Only take it off the list, for a device that is gone.")
    ] = False,
    json: Json = False,
) -> None:
    """Remove what `setup` put on a device, and take the device off the list."""
    from bopkit.benchmark.devices.ssh_setup import forget_device, remove_device

    if forget:
        done, text = "forgotten", ("forgotten", "was not on the list")
        was_there = forget_device(name)
    else:
        done, text = "removed", ("removed", "nothing was there")
        was_there = remove_device(name)
    if json:
        print_json({"name": name, done: was_there})
    else:
        show(f"{name}: {text[0] if was_there else text[1]}")


def _print_info(info: DeviceInfo, as_json: bool) -> None:
    if as_json:
        print_json(info.to_dict())
        return
    environment = info.environment
    versions = ", ".join(f"{name} {version}" for name, version in environment.versions.items())
    rows = [
        ("device", info.name),
        ("cpu", f"{environment.cpu}, {environment.logical_cores} cores, {environment.machine}"),
        ("memory", size_text(environment.memory_bytes)),
        ("system", environment.os),
        ("versions", versions),
        ("ready", "yes" if info.is_ready else "no"),
    ]
    if info.isas:
        rows.append(("kernels", ", ".join(info.isas)))
    if info.folder is not None:
        rows.append(("folder", f"{info.folder}, {size_text(info.free_bytes)} free"))
    for name, value in rows:
        show(f"{name:<10}{value}")
    if info.note:
        say(info.note)
