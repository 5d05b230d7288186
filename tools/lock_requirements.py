# SPDX-License-Identifier: Apache-2.0
"""Write requirements/*.txt: what requirements/*.in name and all they bring along, pinned.

Run it in an environment in which the wanted versions are installed and tested:
`.venv/bin/python tools/lock_requirements.py`. It reads that environment only, never an index.
"""
import fnmatch
import sys
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[1]
# In this order; a package is pinned in the first file that needs it. sam2.txt stands first because
# its packages are never taken over by another file.
LOCKS = ('sam2', 'core', 'train', 'eval', 'ros', 'dev')
# sam2 is built apart from all others, so its own dependencies are direct ones of core.
ALONE = {'sam2'}


def direct_names(text: str, installed: list[str]) -> list[str]:
    """Return the package names that one .in file lists, patterns expanded."""
    names: list[str] = []
    for line in text.splitlines():
        pattern = line.split('#')[0].strip()
        if '*' in pattern:
            names += sorted(fnmatch.filter(installed, pattern))
        elif pattern:
            names.append(pattern)
    return names


def closure(names: list[str]) -> dict[str, str]:
    """Return name and version of the named packages and of everything they need, by name."""
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(name).name, extra) for name in names
            for extra in ('', *Requirement(name).extras)]
    while todo:
        name, extra = todo.pop()
        name = canonicalize_name(name)
        if (name, extra) in seen:
            continue
        seen.add((name, extra))
        found[name] = metadata.version(name)
        for text in metadata.requires(name) or ():
            needed = Requirement(text)
            if needed.marker is None or needed.marker.evaluate({'extra': extra}):
                todo += [(needed.name, wanted) for wanted in ('', *needed.extras)]
    return found


def main() -> None:
    """Write one .txt beside each .in."""
    installed = sorted({canonicalize_name(d.metadata['Name']) for d in metadata.distributions()})
    done: dict[str, str] = {}
    version = f'{sys.version_info.major}.{sys.version_info.minor}'
    for lock in LOCKS:
        names = direct_names((ROOT / 'requirements' / f'{lock}.in').read_text(), installed)
        pins = {n: metadata.version(n) for n in names} if lock in ALONE else closure(names)
        new = {name: pins[name] for name in sorted(pins) if name not in done}
        done.update(new)
        lines = [f'# Written by tools/lock_requirements.py on Python {version} from {lock}.in.']
        lines += [f'{name}=={pin}' for name, pin in new.items()]
        (ROOT / 'requirements' / f'{lock}.txt').write_text('\n'.join(lines) + '\n')
        print(f'requirements/{lock}.txt: {len(new)} packages')


if __name__ == '__main__':
    main()
