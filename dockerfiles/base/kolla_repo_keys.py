#!/usr/bin/python3
#
# kolla_repo_keys                            fetches the keys of enabled repositories
# kolla_repo_keys NAME URL [FINGERPRINT]...  fetches one key for apt
#
# The table repo_keys has the fingerprints of the keys. The build fails if a key has another
# fingerprint. apt sources name a key /etc/kolla/apt-keys/NAME.asc or NAME.gpg, so each key is
# stored in both formats. Repositories of dnf have the URLs of their keys; URLs in the table
# are replaced by a file in /etc/pki/rpm-gpg, so that dnf imports the verified key. Files that
# exist already, from the base image or an override, are kept.

import base64
import hashlib
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(os.environ.get("KOLLA_ROOT", "/"))
APT_KEYS = "etc/kolla/apt-keys"
RPM_KEYS = "etc/pki/rpm-gpg"
TABLES = ["etc/kolla/repo_keys", "usr/local/lib/kolla/repo_keys"]
LARGEST = 1 << 20  # bytes of a key file
PUBLIC_KEY = 6  # the tag of the first packet of a key


class Problem(Exception):
    pass


def table():
    """Return (name, url, fingerprints) of each line of the tables."""
    entries = []
    for path in TABLES:
        path = ROOT / path
        if not path.exists():
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            words = line.split()
            if not words or words[0].startswith("#"):
                continue
            if len(words) < 3:
                raise Problem(f"{path}:{number}: a line must have a name, a URL and fingerprints")
            entries.append((words[0], words[1], fingerprints(words[2:])))
    return entries


def fingerprints(words):
    """Return normalized fingerprints or key ids. An empty list allows all keys."""
    if words == ["-"]:
        return []
    for word in words:
        if not re.fullmatch("[0-9A-Fa-f]{16}|[0-9A-Fa-f]{40}|[0-9A-Fa-f]{64}", word):
            raise Problem(f"{word} is neither a fingerprint nor a key id of 16 digits")
    return [word.upper() for word in words]


def packets(data):
    """Yield the tag, the body and the bytes of each OpenPGP packet."""
    at = 0

    def number(size):
        nonlocal at
        if at + size > len(data):
            raise Problem("the key is truncated")
        at += size
        return int.from_bytes(data[at - size : at], "big")

    while at < len(data):
        start = at
        first = number(1)
        if not first & 0x80:
            raise Problem("this is not an OpenPGP key")
        if first & 0x40:
            tag, size = first & 0x3F, number(1)
            if size >= 224 and size != 255:
                raise Problem("the key has a packet of unknown length")
            if size == 255:
                size = number(4)
            elif size >= 192:
                size = (size - 192 << 8) + number(1) + 192
        else:
            tag, width = first >> 2 & 0xF, first & 3
            if width == 3:
                raise Problem("the key has a packet of unknown length")
            size = number(1 << width)
        body = at
        number(size)
        yield tag, data[body:at], data[start:at]


def fingerprint(body):
    """Return the fingerprint of a public key packet."""
    if body[:1] == b"\x04":
        return hashlib.sha1(b"\x99" + len(body).to_bytes(2, "big") + body).hexdigest().upper()
    if body[:1] in (b"\x05", b"\x06"):
        start = b"\x9a" if body[:1] == b"\x05" else b"\x9b"
        return hashlib.sha256(start + len(body).to_bytes(4, "big") + body).hexdigest().upper()
    raise Problem("the key has a version without a safe fingerprint")


def dearmor(data):
    """Return the keys of an armored file, or the file if it is not armored."""
    blocks = re.findall(rb"-----BEGIN PGP PUBLIC KEY BLOCK-----(.*?)-----END PGP PUBLIC KEY BLOCK-----", data, re.S)
    if not blocks:
        return data
    binary = b""
    for block in blocks:
        lines = [line.strip() for line in block.strip(b"\r\n \t").splitlines()]
        # Headers, such as "Version: …", end with an empty line.
        while lines and b":" in lines[0]:
            lines.pop(0)
        binary += base64.b64decode(b"".join(line for line in lines if not line.startswith(b"=")), validate=True)
    return binary


def armor(data):
    crc = 0xB704CE
    for byte in data:
        crc ^= byte << 16
        for _ in range(8):
            crc <<= 1
            if crc & 0x1000000:
                crc ^= 0x1864CFB
    body = base64.encodebytes(data).decode()
    check = base64.b64encode(crc.to_bytes(3, "big")).decode()
    return f"-----BEGIN PGP PUBLIC KEY BLOCK-----\n\n{body}={check}\n-----END PGP PUBLIC KEY BLOCK-----\n"


def matches(word, fingerprint):
    """Report whether word is the fingerprint or the id of the key."""
    if len(word) >= 40:
        return word == fingerprint
    return fingerprint.startswith(word) if len(fingerprint) == 64 else fingerprint.endswith(word)


def select(data, allowed):
    """Return the allowed keys of a file."""
    kept, keep, found = b"", False, []
    for tag, body, whole in packets(dearmor(data)):
        if tag == PUBLIC_KEY:
            found.append(fingerprint(body))
            keep = not allowed or any(matches(word, found[-1]) for word in allowed)
        if keep:
            kept += whole
    for word in allowed:
        same = [f for f in found if matches(word, f)]
        if len(word) < 40 and len(set(same)) > 1:
            raise Problem(f"several keys have the id {word}: {', '.join(same)}. Name the fingerprint of the right one")
    if not kept:
        raise Problem(f"expected the key {' or '.join(allowed) or '(any)'}, found {', '.join(found) or 'no key'}")
    return kept


def fetch(url, allowed):
    """Return the allowed keys at a URL."""
    got = subprocess.run(["curl", "--fail", "--location", "--silent", "--show-error", "--write-out", "", "--max-filesize", str(LARGEST), url],
                         stdout=subprocess.PIPE)
    if got.returncode:
        raise Problem(f"{url}: curl ended with status {got.returncode}")
    try:
        return select(got.stdout, allowed)
    except ValueError as e:
        raise Problem(f"{url}: {e}")
    except Problem as e:
        raise Problem(f"{url}: {e}")


def store_for_apt(name, key):
    directory = ROOT / APT_KEYS
    directory.mkdir(parents=True, exist_ok=True)
    for suffix, content in (".gpg", key), (".asc", armor(key).encode()):
        path = directory / (name + suffix)
        path.write_bytes(content)
        path.chmod(0o644)


def apt(known):
    for sources in sorted((ROOT / "etc/apt/sources.list.d").glob("*.sources")):
        for file in re.findall(rf"^Signed-By:[ \t]*/{APT_KEYS}/(\S+)", sources.read_text(), re.M):
            if (ROOT / APT_KEYS / file).exists():
                continue
            name = file.rsplit(".", 1)[0]
            entry = next((e for e in known if e[0] == name), None)
            if entry is None:
                raise Problem(f"{sources} names the key /{APT_KEYS}/{file}, which does not exist.\n"
                              "Add it to base_remote_apt_keys_append, or copy it or a line of /etc/kolla/repo_keys in base_header.")
            store_for_apt(name, fetch(entry[1], entry[2]))


def release():
    file = ROOT / "etc/os-release"
    found = re.search(r'^VERSION_ID="?([0-9]+)', file.read_text(), re.M) if file.exists() else None
    return found.group(1) if found else "$releasever"


def key_addresses(lines):
    """Yield the index of each line with URLs of keys, and the position of each URL in it."""
    inside = False
    for index, line in enumerate(lines):
        option = re.match(r"gpgkey\s*=", line, re.I)
        if option:
            inside = True
        elif not line.strip() or line[0] in "#;":
            continue
        elif not line[0].isspace():
            inside = False
        if inside:
            start = option.end() if option else 0
            yield index, [m.span() for m in re.compile(r"[^\s,]+").finditer(line, start)]


def dnf(known):
    keys = {url: (f"{RPM_KEYS}/kolla-{name}", allowed) for name, url, allowed in reversed(known)}
    for repo in sorted((ROOT / "etc/yum.repos.d").glob("*.repo")):
        lines = repo.read_text().splitlines(keepends=True)
        changed = False
        for index, places in key_addresses(lines):
            for start, end in reversed(places):
                url = lines[index][start:end].replace("${releasever}", "$releasever")
                if url not in keys:
                    if not url.startswith(("/", "file:")):
                        print(f"kolla_repo_keys: {repo}: no fingerprint is known for {url}")
                    continue
                file, allowed = keys[url]
                if not (ROOT / file).exists():
                    key = fetch(url.replace("$releasever", release()), allowed)
                    (ROOT / RPM_KEYS).mkdir(parents=True, exist_ok=True)
                    (ROOT / file).write_text(armor(key))
                lines[index] = f"{lines[index][:start]}file:///{file}{lines[index][end:]}"
                changed = True
        if changed:
            repo.write_text("".join(lines))


def main(arguments):
    if len(arguments) == 1:
        raise Problem("usage: kolla_repo_keys [NAME URL [FINGERPRINT]...]")
    known = table()
    if arguments:
        name, url, *allowed = arguments
        pinned = next((e[2] for e in known if e[0] == name and e[1] == url), [])
        store_for_apt(name, fetch(url, fingerprints(allowed) or pinned))
        return
    apt(known)
    dnf(known)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except Problem as problem:
        sys.exit(f"kolla_repo_keys: {problem}")
