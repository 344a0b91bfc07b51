"""A first client for `labs judge 3`, to start from: a window of 20 requests.

    cargo run --release -- judge 3 -- python3 labs/judge/clients/first.py
"""

import os
import urllib.request
from concurrent.futures import ThreadPoolExecutor

url, n, timeout = (os.environ[name] for name in ("JUDGE_URL", "JUDGE_N", "JUDGE_TIMEOUT"))


def get(item):
    with urllib.request.urlopen(f"{url}/items/{item}", timeout=float(timeout)) as answer:
        return answer.read()


# As many requests are in flight as there are threads.
with ThreadPoolExecutor(20) as threads:
    list(threads.map(get, range(int(n))))
