"""What Raspberry Pi Imager 2.0.11 leaves on the card, line by line as its generator writes it."""

from __future__ import annotations

PASSWORD = "open sesame please"
# Of that password, made by perl's crypt and by `openssl passwd -5` and `-6`.
YESCRYPT = "$y$j9T$abcdefghijklmnop$msSCHowzJKgtUV43Z2wkkW9d8dp8cT3HPEmA5QNC90/"
SHA256 = "$5$abcdefghij$9smSGnOO3SHufnvC/itGM3sCgie8.XqfnatZlkTDeAA"
SHA512 = (
    "$6$abcdefghij$3VlpWPphwx1M4nDP8lwkbziksDv56.kafnvBKIhNbz0xMcLxV8EbZIl1MdRp1.e2IINQvcn4iqcwu95"
    "5GC2mt0"
)
PMK = "0123456789abcdef" * 4
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA anna"

TOML = f'''config_version = "1.0"

[system]
hostname = "Attic"

[user]
name = "anna"
password = "{YESCRYPT}"
password_encrypted = true
groups = ["sudo"]
passwordless_sudo = true

[ssh]
enabled = true
password_authentication = false
authorized_keys = [
  "{KEY}",
]

[wlan]
ssid = "Our \\"home\\" \\\\ Zoë"
password = "{PMK}"
password_encrypted = true
hidden = true
country = "DE"

[locale]
keymap = "de"
timezone = "Europe/Berlin"

[connect]
enabled = true
mode = "token"
token = "rpuak_secret"
'''

USER_DATA = f'''manage_resolv_conf: false

hostname: Attic
manage_etc_hosts: true
packages:
- avahi-daemon
apt:
  preserve_sources_list: true
  conf: |
    Acquire {{
      Check-Date "false";
    }};
timezone: Europe/Berlin
keyboard:
  model: pc105
  layout: "de"
user:
  name: anna
  shell: /bin/bash
  lock_passwd: false
  passwd: "{YESCRYPT}"
  ssh_authorized_keys:
    - "{KEY}"
  sudo: ALL=(ALL) NOPASSWD:ALL
ssh_pwauth: false
runcmd:
  - [ systemctl, enable, --now, ssh ]
  - [ sh, -c, "echo 'hostname: evil' > /etc/hostname" ]
'''

NETWORK_CONFIG = f'''network:
  version: 2
  ethernets:
    eth0:
      dhcp4: true
      dhcp6: true
      optional: true
  wifis:
    wlan0:
      dhcp4: true
      regulatory-domain: "DE"
      access-points:
        "Our \\"home\\" \\\\ Zo\\xc3\\xab":
          hidden: true
          password: "{PMK}"
      optional: true
'''

META_DATA = "instance-id: rpi-imager-1795428000000\n"
SSID = 'Our "home" \\ Zoë'.encode()
CLOUD = {"user-data": USER_DATA, "network-config": NETWORK_CONFIG, "meta-data": META_DATA}
SECRETS = (YESCRYPT, PMK)
