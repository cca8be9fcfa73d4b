# SPDX-License-Identifier: Apache-2.0
"""Files whose type a person can tell, to ask magika about.

Texts are written here; what is not text is made by the code below or taken from models/. All is
small and the same on every machine, so that an answer that changes has changed for a reason.
"""

import gzip
import io
import json
import pathlib
import sqlite3
import tarfile
import zipfile

MODELS = pathlib.Path(__file__).resolve().parent.parent

PYTHON = b'''\
import math
import sys


def primes(limit):
    """All primes below limit."""
    sieve = bytearray([1]) * limit
    sieve[:2] = b"\\0\\0"
    for number in range(2, math.isqrt(limit) + 1):
        if sieve[number]:
            sieve[number * number :: number] = bytes(len(sieve[number * number :: number]))
    return [number for number in range(limit) if sieve[number]]


if __name__ == "__main__":
    print(primes(int(sys.argv[1])))
'''

CPP = b"""\
#include <algorithm>
#include <cstdint>
#include <iostream>
#include <string>
#include <unordered_map>
#include <vector>

namespace census {

class Counter {
 public:
  void Add(const std::string& word) { ++counts_[word]; }

  std::vector<std::pair<std::string, std::uint64_t>> Sorted() const {
    std::vector<std::pair<std::string, std::uint64_t>> all(counts_.begin(), counts_.end());
    std::sort(all.begin(), all.end(),
              [](const auto& a, const auto& b) { return a.second > b.second; });
    return all;
  }

 private:
  std::unordered_map<std::string, std::uint64_t> counts_;
};

}  // namespace census

int main() {
  census::Counter counter;
  for (std::string word; std::cin >> word;) counter.Add(word);
  for (const auto& [word, count] : counter.Sorted()) std::cout << count << '\\t' << word << '\\n';
}
"""

MARKDOWN = b"""\
# Bread

A loaf for beginners. It takes **three hours**, most of which are waiting.

## What it needs

* 500 g of flour
* 350 g of water
* 10 g of salt
* a packet of yeast

## How it is made

1. Stir everything in a bowl until no dry flour is left.
2. Cover it, and wait for an hour.
3. Fold the dough over itself, as in [this drawing](drawing.svg), and wait for another hour.
4. Bake it at 230 degrees for 35 minutes:

```
oven on  ->  pot in  ->  dough in  ->  lid off after 20 minutes
```

> Let it cool down before you cut it.
"""

HTML = b"""\
<!DOCTYPE html>
<html lang="en">
<head>
  <meta charset="utf-8">
  <title>Opening hours</title>
  <link rel="stylesheet" href="style.css">
</head>
<body>
  <h1>Opening hours</h1>
  <table>
    <tr><th>Day</th><th>From</th><th>To</th></tr>
    <tr><td>Monday</td><td>9:00</td><td>17:00</td></tr>
    <tr><td>Tuesday</td><td>9:00</td><td>19:00</td></tr>
  </table>
  <p>Call us on <a href="tel:+10000000">+1 000 0000</a>.</p>
</body>
</html>
"""

SHELL = b"""\
#!/bin/sh
# Keeps the last seven archives of a folder.
set -eu

folder=${1:?usage: keep.sh FOLDER}
target=/var/backups/$(basename "$folder")-$(date +%F).tar.gz

if [ ! -d "$folder" ]; then
  echo "no such folder: $folder" >&2
  exit 1
fi
tar -czf "$target" -C "$folder" .
ls -1t /var/backups/"$(basename "$folder")"-*.tar.gz | tail -n +8 | while read -r old; do
  rm -f "$old"
done
"""

SQL = b"""\
CREATE TABLE customer (
  id INTEGER PRIMARY KEY,
  name VARCHAR(80) NOT NULL,
  city VARCHAR(80)
);

CREATE TABLE invoice (
  id INTEGER PRIMARY KEY,
  customer_id INTEGER NOT NULL REFERENCES customer (id),
  total DECIMAL(10, 2) NOT NULL,
  paid BOOLEAN DEFAULT FALSE
);

INSERT INTO customer (id, name, city) VALUES (1, 'Ada', 'London'), (2, 'Emmy', 'Erlangen');

SELECT c.name, SUM(i.total) AS owed
FROM customer c JOIN invoice i ON i.customer_id = c.id
WHERE NOT i.paid
GROUP BY c.name
ORDER BY owed DESC;
"""


def _json():
    stations = [
        {
            "id": index,
            "name": f"station {index}",
            "open": index % 3 > 0,
            "position": [index * 1.5, 48.0],
        }
        for index in range(12)
    ]
    return json.dumps({"version": 2, "stations": stations}, indent=2).encode()


def _csv():
    rows = [f"{index},{20 + index % 7}.{index % 10},{1000 + index},ok" for index in range(40)]
    return "\n".join(["number,temperature,pressure,state", *rows, ""]).encode()


def _zip():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (("notes/bread.txt", MARKDOWN), ("notes/hours.txt", HTML)):
            archive.writestr(zipfile.ZipInfo(name), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _tar():
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in (("bread.md", MARKDOWN), ("primes.py", PYTHON)):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _sqlite():
    with sqlite3.connect(":memory:") as database:
        database.executescript(SQL.decode())
        return database.serialize()


def samples():
    """Pairs of magika's name for the type and the bytes of a file of that type."""
    return [
        ("python", PYTHON),
        ("cpp", CPP),
        ("markdown", MARKDOWN),
        ("html", HTML),
        ("shell", SHELL),
        ("sql", SQL),
        ("json", _json()),
        ("csv", _csv()),
        ("gzip", gzip.compress(CPP, mtime=0)),
        ("zip", _zip()),
        ("tar", _tar()),
        ("sqlite", _sqlite()),
        ("onnx", (MODELS / "repository/fashion/1/xxs.onnx").read_bytes()),
        ("png", (MODELS / "inputs/pictures/coffee.png").read_bytes()),
        ("wav", (MODELS / "inputs/speech.wav").read_bytes()),
    ]
