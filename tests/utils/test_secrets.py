"""Keys are nowhere in what is printed or written."""

from __future__ import annotations

import pytest

from sage_bench.utils.secrets import masked, masked_text

KEY = "sekret0123456789abcd"


@pytest.mark.parametrize(
    "options",
    [
        {"base_url": f"https://host/v1?api-key={KEY}"},
        {"base_url": f"https://host/v1?x=1&key={KEY}&y=2"},
        {"base_url": f"https://user:{KEY}@host/v1"},
        {"body": {"api_key": KEY}},
        {"body": {"auth": {"access_token": KEY}}},
        {"headers": {"Authorization": f"Bearer {KEY}"}},
        {"headers": {"x-api-key": KEY, "X-Access-Token": KEY}},
        {"extra": [f"Authorization: Bearer {KEY}"]},
        {"method.judge_options.password": KEY},
        {"note": f"sk-{KEY}"},
        {"note": f"hf_{KEY}"},
    ],
)
def test_a_key_is_masked_wherever_it_stands(options):
    assert KEY not in str(masked(options))
    assert "***" in str(masked(options))


@pytest.mark.parametrize(
    "value",
    [
        {"key_env": "MY_KEY", "max_tokens": 5, "tokens": [1, 2], "model": "a/b"},
        {"base_url": "http://localhost:8000/v1?version=2024-02-01"},
        {"tokenizer": "Qwen/Qwen2.5", "sort_key": "name", "token_weights": "all"},
        {"template": "{{ messages }}", "path": "runs/sk-eleton/x@y"},
        {"nothing": None, "flag": True, "ratio": 0.5},
    ],
)
def test_what_is_no_key_stays(value):
    assert masked(value) == value


def test_errors_of_servers_lose_their_keys():
    text = f"http 401 no for https://host/v1?api-key={KEY}: Bearer {KEY} is not valid"
    assert KEY not in masked_text(text)
    assert "http 401" in masked_text(text)
