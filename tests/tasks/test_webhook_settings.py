"""Webhooks in the settings: where they are read from, and what is refused."""

from pathlib import Path

import pytest

from lognode.settings.webhook import Webhook
from tests.test_settings import load, refusal


def test_webhooks_are_tables_in_the_file_and_names_with_urls_in_a_variable() -> None:
    tables = (
        '[webhooks.ops]\nurl = "https://x.example/a"\nsecret_file = "ops"\n[webhooks.b]\nurl = "http://y.example"\n'
    )
    assert load('webhook_allow = ["10.0.0.0/8", "Hooks.Internal"]\n' + tables).webhooks == (
        Webhook("b", "http://y.example"),
        Webhook("ops", "https://x.example/a", Path("/etc/ops")),
    )
    found = load(environ={"LOGNODE_WEBHOOKS": "ops=https://x.example/?a=b, c=http://y.example"})
    assert found.webhooks == (Webhook("ops", "https://x.example/?a=b"), Webhook("c", "http://y.example"))
    allowed = load(environ={"LOGNODE_WEBHOOK_ALLOW": "::1, 10.0.0.0/8, Hooks.Internal"}).webhook_allow
    assert allowed == ("::1", "10.0.0.0/8", "hooks.internal")


@pytest.mark.parametrize(
    ("toml", "detail"),
    [
        ('webhooks = ["ops"]', "NAME=URL"),
        ('webhooks = ["ops=ftp://x.example"]', "http:// or https://"),
        ('webhooks = ["ops=https://x.example/ y"]', "http:// or https://"),
        ('webhooks = ["Ops=https://x.example"]', "names of a-z"),
        ('webhooks = ["journal=https://x.example"]', "names of a-z"),
        ('webhooks = ["a=https://x.example", "a=https://y.example"]', "each once"),
        ('webhooks = {ops = "https://x.example"}', "tables [webhooks.NAME]"),
        ('webhooks = {ops = {secret_file = "x"}}', "tables [webhooks.NAME]"),
        ('webhooks = {ops = {url = "https://x.example", secret = "x"}}', "tables [webhooks.NAME]"),
        ('webhooks = {ops = {url = "https://x.example", secret_file = ""}}', "as a path"),
        ("webhooks = {ops = {url = 1}}", "tables [webhooks.NAME]"),
        ('webhook_allow = ["10.0.0.0/99"]', "networks such as"),
        ('webhook_allow = ["10.0.0.1/8"]', "networks such as"),
        ('webhook_allow = ["https://x.example"]', "networks such as"),
        ('webhook_allow = ["127.1"]', "networks such as"),
    ],
)
def test_what_no_webhook_can_be_is_refused_with_its_line(toml: str, detail: str) -> None:
    error = refusal(toml)

    assert error.code == "settings.invalid"
    assert detail in error.detail
    assert error.place == "/etc/lognode.toml:1"
