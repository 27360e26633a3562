"""Tests against the whole embedded stack."""

import pytest

pytest.register_assert_rewrite("tests.stack.browser_kit", "tests.stack.journey")
